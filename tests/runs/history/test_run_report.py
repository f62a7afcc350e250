from __future__ import annotations

from regimen.runs.history.run_report import memory_lines
from regimen.runs.record import RunRecord
from regimen.runs.record_parts import MemoryEstimate

GIB = 2**30


def test_estimate_and_peak_stand_beside_each_other_for_both_memories():
    estimate = MemoryEstimate({"process": GIB, "env": GIB // 2}, {"agent": 3 * GIB}, workers=2)
    record = RunRecord(peak_memory_gib=2.5, peak_gpu_gib=3.25, estimated_memory=estimate)
    (line,) = memory_lines(RunRecord.from_dict(record.to_dict()))
    main, gpu = line.split(";")
    assert "3.00" in main and "2.50" in main and "3.00" in gpu and "3.25" in gpu


def test_a_record_without_an_estimate_shows_its_peak():
    (line,) = memory_lines(RunRecord.from_dict({"status": "finished", "peak_memory_gib": 0.5}))
    assert "0.50" in line and "estimated" not in line


def test_a_run_that_has_not_begun_shows_neither():
    assert memory_lines(RunRecord.from_dict({"status": "queued"})) == []
