//! The figures of one peer in one direction over several runs, and the table of all.

use crate::lab::{Direction, Peer, Run};

/// Runs of one peer in one direction.
pub(crate) struct Row {
    /// Whose client.
    pub(crate) peer: Peer,
    /// Which way.
    pub(crate) direction: Direction,
    runs: Vec<Run>,
}

impl Row {
    /// Without a run yet.
    pub(crate) fn new(peer: Peer, direction: Direction) -> Self {
        Self { peer, direction, runs: Vec::new() }
    }

    /// One run more.
    pub(crate) fn add(&mut self, run: Run) {
        self.runs.push(run);
    }

    fn sorted(&self, figure: impl Fn(&Run) -> f64) -> Vec<f64> {
        let mut figures: Vec<f64> = self.runs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures
    }

    fn median(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        self.sorted(figure).get(self.runs.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Median and, in parentheses, the smallest and largest.
    fn spread(&self, figure: impl Fn(&Run) -> f64) -> String {
        let figures = self.sorted(&figure);
        let (first, last) = (figures.first().copied(), figures.last().copied());
        let (first, last) = (first.unwrap_or(f64::NAN), last.unwrap_or(f64::NAN));
        format!("{:.2} ({first:.2}–{last:.2})", self.median(figure))
    }
}

/// The table in Markdown: medians with smallest and largest, and the ratio ours / openvpn of the medians.
pub(crate) fn table(rows: &[Row], machine: &str) -> String {
    let mut text =
        format!("{machine}\n\n| client | direction | runs | Gbit/s | client CPU-s/GB | other load, CPUs |\n");
    text += "| --- | --- | --- | --- | --- | --- |\n";
    for row in rows {
        text += &format!(
            "| {} | {} | {} | {} | {} | {:.2} |\n",
            match row.peer {
                Peer::Openvpn => "openvpn",
                Peer::Mrvpn => "mrvpn",
            },
            name(row.direction),
            row.runs.len(),
            row.spread(|run| run.gbits),
            row.spread(|run| run.cpu_per_gb),
            row.median(|run| run.foreign),
        );
    }
    for direction in [Direction::Up, Direction::Down] {
        let of = |peer: Peer| rows.iter().find(|row| row.peer == peer && row.direction == direction);
        let (Some(ours), Some(theirs)) = (of(Peer::Mrvpn), of(Peer::Openvpn)) else { continue };
        text += &format!(
            "\nmrvpn / openvpn, {}: {:.2} of the throughput with {:.2} of the CPU time a gigabyte\n",
            name(direction),
            ours.median(|run| run.gbits) / theirs.median(|run| run.gbits),
            ours.median(|run| run.cpu_per_gb) / theirs.median(|run| run.cpu_per_gb),
        );
    }
    text
}

fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    }
}
