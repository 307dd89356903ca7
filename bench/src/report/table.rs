//! A report as text of at most 80 columns. Never here: a number that is not in the report.

use std::fmt::{self, Write as _};

use bytesize::ByteSize;

use super::{Contestant, FLOOR, Report};
use crate::{space::Medium, stats::Spread};

/// Writes all of it.
pub(super) fn write(report: &Report, out: &mut String) -> fmt::Result {
    head(report, out)?;
    main(report, out)?;
    flushes(report, out)?;
    policies(report, out)?;
    shoal_ratios(report, out)?;
    uploads(report, out)?;
    calls(report, out)?;
    pieces(report, out)
}

fn head(report: &Report, out: &mut String) -> fmt::Result {
    let setting = &report.setting;
    writeln!(out, "{}", report.machine)?;
    let size = ByteSize(setting.size_bytes);
    let runs = report.samples.iter().map(|sample| sample.run).max().unwrap_or(0);
    let source = if setting.is_sparse { "sparse: " } else { "" };
    let way = if setting.hosts { "veth" } else { "loopback" };
    let (medium, leechers) = (setting.medium, setting.leechers);
    writeln!(out, "{source}{size} to each of {leechers} over {way}, {medium}")?;
    let pieces = setting.piece_bytes.iter().map(|&piece| ByteSize(piece.into()).to_string());
    let pieces = pieces.collect::<Vec<_>>().join(", ");
    writeln!(out, "runs: {runs}, pieces of {pieces}")?;
    match &setting.policy {
        Some(policy) => writeln!(out, "policy {policy}"),
        None => Ok(()),
    }
}

fn main(report: &Report, out: &mut String) -> fmt::Result {
    writeln!(out)?;
    let columns = ["MB/s to each", "of the floor", "CPU s/GiB", "peak MiB"];
    line(out, "", columns.map(str::to_owned))?;
    let spread = "median (min-max)";
    line(out, "", [spread, spread, "send  recv", "send   recv"].map(str::to_owned))?;
    for group in groups(report) {
        group_head(report, out, group)?;
        for it in group {
            let (rate, ratio) = (it.mb_per_s, it.floor_ratio);
            let rate = format!("{:.0} ({:.0}-{:.0})", rate.median, rate.min, rate.max);
            let ratio = format!("{:.3} ({:.3}-{:.3})", ratio.median, ratio.min, ratio.max);
            let (send, recv) = (it.sender_cpu_s_per_gib.median, it.receiver_cpu_s_per_gib.median);
            let cpu = format!("{send:.2}  {recv:.2}");
            let (send, recv) = (it.sender_peak_mib.median, it.receiver_peak_mib.max);
            let peak = format!("{send:.0}  {recv:>5.0}");
            line(out, &it.name, [rate, ratio, cpu, peak])?;
        }
    }
    Ok(())
}

fn line(out: &mut String, name: &str, [rate, ratio, cpu, peak]: [String; 4]) -> fmt::Result {
    writeln!(out, "{name:<13}{rate:>18}{ratio:>20}{cpu:>13}{peak:>14}")
}

/// Those of one piece length together.
fn groups(report: &Report) -> impl Iterator<Item = &[Contestant]> {
    report.contestants.chunk_by(|a, b| a.piece_bytes == b.piece_bytes)
}

/// Says their piece length where there are several.
fn group_head(report: &Report, out: &mut String, group: &[Contestant]) -> fmt::Result {
    if report.setting.piece_bytes.len() < 2 {
        return Ok(());
    }
    let piece = group.first().map_or(0, |it| it.piece_bytes);
    writeln!(out, "pieces of {}", ByteSize(piece.into()))
}

fn flushes(report: &Report, out: &mut String) -> fmt::Result {
    if report.setting.medium == Medium::Tmpfs {
        return Ok(());
    }
    writeln!(out, "\nseconds until the disk had everything, within the time above")?;
    for group in groups(report) {
        group_head(report, out, group)?;
        for it in group {
            writeln!(out, "{:<13}{:>18}", it.name, short(it.flush_s))?;
        }
    }
    Ok(())
}

fn policies(report: &Report, out: &mut String) -> fmt::Result {
    for it in &report.contestants {
        let Some(share) = it.policy_cpu_share else { continue };
        let [median, min, max] = [share.median, share.min, share.max].map(|it| it * 100.0);
        write!(out, "{}: the policy's thread took {median:.2} ({min:.2}-{max:.2}) % ", it.name)?;
        writeln!(out, "of the CPU time")?;
    }
    Ok(())
}

fn shoal_ratios(report: &Report, out: &mut String) -> fmt::Result {
    if report.contestants.iter().all(|it| it.shoal_ratio.is_none()) {
        return Ok(());
    }
    let is_alone = report.setting.leechers == 1;
    let first = if is_alone { "MB/s" } else { "s to the last" };
    let shoal = report.contestants.iter().find(|it| it.name != FLOOR);
    let shoal = shoal.map_or("", |it| &it.name);
    writeln!(out, "\n{shoal} ÷ each, run by run: median (min-max)")?;
    let columns = ["CPU send", "CPU recv", "CPU both"];
    writeln!(out, "{:<12}{first:>17}{:>17}{:>17}{:>17}", "", columns[0], columns[1], columns[2])?;
    for group in groups(report) {
        group_head(report, out, group)?;
        for it in group {
            let Some(ratio) = &it.shoal_ratio else { continue };
            let first = short(Some(if is_alone { ratio.speed } else { ratio.wall }));
            let [send, recv, both] = [ratio.sender_cpu, ratio.receiver_cpu, ratio.cpu].map(short);
            writeln!(out, "{:<12}{first:>17}{send:>17}{recv:>17}{both:>17}", it.name)?;
        }
    }
    Ok(())
}

fn uploads(report: &Report, out: &mut String) -> fmt::Result {
    for it in &report.contestants {
        let Some(upload) = it.seeder_upload_ratio else { continue };
        let piece = ByteSize(it.piece_bytes.into());
        let upload = short(Some(upload));
        writeln!(out, "\n{}, pieces of {piece}: the seeder sent {upload} copies", it.name)?;
    }
    Ok(())
}

fn calls(report: &Report, out: &mut String) -> fmt::Result {
    if let Some(why) = &report.setting.no_calls {
        return writeln!(out, "\nsystem calls: not counted: {why}");
    }
    if report.contestants.iter().all(|it| it.calls.is_none()) {
        return Ok(());
    }
    writeln!(out, "\n{:<13}{:>28}", "", "system calls per MB")?;
    writeln!(out, "{:<13}{:>14}{:>14}", "", "send", "recv")?;
    for group in groups(report) {
        group_head(report, out, group)?;
        for it in group {
            let Some(calls) = &it.calls else { continue };
            let (send, recv) = (calls.sender_per_mb, calls.receiver_per_mb);
            writeln!(out, "{:<13}{send:>14.1}{recv:>14.1}", it.name)?;
        }
    }
    Ok(())
}

fn pieces(report: &Report, out: &mut String) -> fmt::Result {
    if report.pieces.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nMB/s, slowest ÷ fastest piece length, run by run")?;
    for it in &report.pieces {
        let ratio = short(Some(it.slowest_to_fastest));
        let [slow, fast] = [it.slowest_piece_bytes, it.fastest_piece_bytes]
            .map(|piece| ByteSize(piece.into()).to_string());
        let medians = it.medians_ratio;
        writeln!(out, "{:<13}{ratio:>18}  medians {medians:.2}: {slow} ÷ {fast}", it.name)?;
    }
    Ok(())
}

/// A spread in 16 columns: three digits of each.
fn short(spread: Option<Spread>) -> String {
    let Some(it) = spread else { return "-".to_owned() };
    let [median, min, max] = [it.median, it.min, it.max].map(|value| match value {
        0.0..9.995 => format!("{value:.2}"),
        9.995..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    });
    format!("{median} ({min}-{max})")
}

#[cfg(test)]
mod tests {
    use super::super::{
        Sample,
        tests::{report, sample},
    };
    use crate::calls::Calls;

    #[test]
    fn what_was_not_measured_has_no_table() {
        let table = report(vec![sample(1, "floor", 1.0)], &[]).table();
        for text in ["system calls", "÷ each", "copies", "slowest"] {
            assert!(!table.contains(text), "{text}: {table}");
        }
    }

    #[test]
    fn the_table_keeps_to_eighty_columns() {
        let mut samples = Vec::new();
        for piece_bytes in [512 << 10, 16 << 20] {
            for (who, wall_s) in [("floor", 1.0), ("aria2>shoal", 2.0), ("transmission", 200.0)] {
                let flush_s = Some(123.456);
                samples.push(Sample { piece_bytes, flush_s, ..sample(1, who, wall_s) });
            }
        }
        samples[1].seeder_upload_ratio = Some(1.04);
        let calls = Calls {
            contestant: "floor".to_owned(),
            piece_bytes: 16 << 20,
            sender_per_mb: 12.3,
            receiver_per_mb: 12_345.6,
        };
        let table = report(samples, &[calls]).table();
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
        for text in [
            "0.500 (0.500-0.500)",
            "aria2>shoal: the policy's thread took 1.23 (1.23-1.23) %",
            "aria2>shoal ÷ each",
            "0.01 (0.01-0.01)",
            "the seeder sent 1.04 (1.04-1.04) copies",
            "12345.6",
            "123 (123-123)",
            "1.00 (1.00-1.00)  medians 1.00: 512.0 KiB ÷ 16.0 MiB",
        ] {
            assert!(table.contains(text), "{text}: {table}");
        }
    }
}
