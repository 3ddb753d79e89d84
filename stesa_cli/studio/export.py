"""The results of a studio as ``stesa segment`` writes them: the same files, and the same report."""

import json
from collections.abc import Callable

from stesa_cli.checkpoint import find_weights, load_network
from stesa_cli.files import write_text
from stesa_cli.masks import read_mask
from stesa_cli.segmentation.prompts import Prompts
from stesa_cli.segmentation.report import SegmentReport
from stesa_cli.segmentation.results import REPORT, TIMELINE, clear
from stesa_cli.segmentation.run import open_source
from stesa_cli.segmentation.timeline import draw_timeline
from stesa_cli.studio.session import Session
from stesa_cli.video.outputs import FORMATS, FrameOutput, OutputOptions, open_outputs, read_soft


def export(session: Session, save: tuple[str, ...], on_frame: Callable[[int, int], None]) -> SegmentReport:
    """Write what is found in the formats ``save``, of FORMATS, in place of earlier results. Raises ConfigError when a
    package is missing for one, InputError when nothing is found yet, OutputError when the disk refuses."""
    for kind in save:
        FORMATS[kind].require()
    job, needs_soft = session.equal_job(save), any(FORMATS[kind].soft for kind in save)
    network, info = load_network(job.weights)
    config = network.config.model_dump()
    model = {"weights": str(find_weights(job.weights)), "config": config, "info": info}
    end = job.frames or len(session.video)
    with open_source(job) as reader:
        prompts = Prompts(job.masks, (), session.size, names=reader.names)
        report = SegmentReport(job, reader, model, prompts, seconds=dict(session.seconds))
        sound = None if job.video.is_dir() or job.frames else job.video  # type: ignore[union-attr]
        options = OutputOptions(job.binary, job.style, reader.rate, reader.sample_aspect, sound)  # type: ignore[arg-type]
        if needs_soft:  # results of stesa segment that were opened may have none
            read_soft(session.work / "soft", f"{prompts.frames[0]:05d}", tuple(session.seen[prompts.frames[0]]))
        clear(job.output)
        with open_outputs(job.output, save, options) as write:
            for frame in reader:
                before = frame.index < prompts.frames[0] and not job.both_ways
                seen = {} if before else session.seen[frame.index]
                own = f"{frame.index:05d}"
                name = reader.names[frame.index] if reader.names and job.names == "frames" else own
                labels = frame.image[..., 0] * 0 if before else read_mask(session.mask_path(frame.index))
                soft = read_soft(session.work / "soft", own, tuple(seen)) if needs_soft else {}
                write(FrameOutput(name, frame.index, frame.time, frame.image, labels, tuple(seen), soft))
                report.seen[frame.index] = seen
                report.times.append(frame.time)
                on_frame(len(report.times), end)
                if len(report.times) == end:
                    break
        report.truncated = reader.truncated_at is not None and report.frames != job.frames
    areas, sure = ({i: each(i) for i in report.ids} for each in (report.areas, report.confidence))
    draw_timeline(job.output / TIMELINE, report.times, areas, sure, session.size[0] * session.size[1])
    write_text(job.output / REPORT, json.dumps(report.to_dict(), indent=1))
    return report
