"""Words for jobs: when each does something, and whose it is, for the audit log and for who is kept out."""

from datetime import UTC, datetime

from wgfleet.panel.domain.jobs.job import Job, JobField, Operator
from wgfleet.panel.domain.jobs.periods import zone
from wgfleet.protocol.quantities import size_text, time_text
from wgfleet.protocol.reasons import Reason

_OWN = Reason("its own limit")


def described(job: Job) -> str:
    """Say when a job does something, and whose it is."""
    whose = _OWN if job.origin == "peer" else Reason("the limit of its {origin}", origin=job.origin)
    if job.field is JobField.SCHEDULE:
        return Reason(
            "outside of {windows} ({time_zone}), {whose}",
            windows=", ".join(job.windows),
            time_zone=job.time_zone,
            whose=whose,
        )
    if job.field is JobField.DATE:
        return _by_date(job, whose)
    if job.field is JobField.ENDPOINTS:
        return Reason("its file is used by more than {most} devices at once, {whose}", most=job.value, whose=whose)
    words = {
        Operator.LARGER: Reason("above"),
        Operator.LESS: Reason("below"),
        Operator.EQUAL: Reason("at"),
        Operator.NOT_EQUAL: Reason("not at"),
    }
    each = Reason(" in a {period}", period=job.period) if job.period else ""
    return Reason(
        "{field} {words} {size}{each}, {whose}",
        field=job.field,
        words=words[job.operator],
        size=size_text(job.value or 0),
        each=each,
        whose=whose,
    )


def _by_date(job: Job, whose: Reason) -> str:
    if job.period is not None or job.value is None:
        return Reason("when a new {period} begins, {whose}", period=job.period, whose=whose)
    if job.from_first_use:
        return Reason("{time} after the first use, {whose}", time=time_text(job.value), whose=whose)
    try:
        date, time_zone = datetime.fromtimestamp(job.value, zone(job.time_zone)), job.time_zone
    except (ValueError, OverflowError):  # beyond the year 9999 there
        date, time_zone = datetime.fromtimestamp(job.value, UTC), "UTC"
    said = f"{date:%Y-%m-%d %H:%M:%S}".removesuffix(":00").removesuffix(" 00:00")
    if job.operator is Operator.LESS:
        return Reason("before {date} ({time_zone}), {whose}", date=said, time_zone=time_zone, whose=whose)
    return Reason("after {date} ({time_zone}), {whose}", date=said, time_zone=time_zone, whose=whose)
