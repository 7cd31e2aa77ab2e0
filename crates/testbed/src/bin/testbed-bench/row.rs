//! Figures of both peers over several runs, and the table of all.

use crate::{
    case::{Case, Figure},
    lab::Peer,
};

/// One figure of a case, of both peers.
struct Row {
    case: Case,
    name: &'static str,
    openvpn: Vec<f64>,
    mrvpn: Vec<f64>,
}

/// All rows, in the order in which they came.
#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    /// One figure of one run.
    pub(crate) fn add(&mut self, case: Case, peer: Peer, figure: Figure) {
        let place = self.0.iter().position(|row| row.case == case && row.name == figure.name);
        let place = place.unwrap_or_else(|| {
            self.0.push(Row { case, name: figure.name, openvpn: Vec::new(), mrvpn: Vec::new() });
            self.0.len() - 1
        });
        match peer {
            Peer::Openvpn => self.0[place].openvpn.push(figure.value),
            Peer::Mrvpn => self.0[place].mrvpn.push(figure.value),
        }
    }

    /// In Markdown: medians with smallest and largest, and the ratio mrvpn / openvpn of the medians.
    pub(crate) fn text(&self, machine: &str) -> String {
        let mut text = format!("{machine}\n\n| case | figure | runs | openvpn | mrvpn | mrvpn / openvpn |\n");
        text += "| --- | --- | --- | --- | --- | --- |\n";
        for row in &self.0 {
            let (theirs, ours) = (spread(&row.openvpn), spread(&row.mrvpn));
            let ratio = median(&row.mrvpn) / median(&row.openvpn);
            let (case, runs) = (row.case.name(), row.mrvpn.len());
            text += &format!("| {case} | {} | {runs} | {theirs} | {ours} | {ratio:.2} |\n", row.name);
        }
        text
    }
}

/// Median and, in parentheses, the smallest and largest.
fn spread(values: &[f64]) -> String {
    let sorted = sorted(values);
    let (first, last) = (sorted.first().copied(), sorted.last().copied());
    let (first, last) = (first.unwrap_or(f64::NAN), last.unwrap_or(f64::NAN));
    format!("{:.2} ({first:.2}–{last:.2})", median(values))
}

fn median(values: &[f64]) -> f64 {
    sorted(values).get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}
