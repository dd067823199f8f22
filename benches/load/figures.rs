//! Figures, and how they are made: rounds in which each has its turn, so that what the machine does besides hits all alike,
//! and medians of the ratios within a round.

use super::contestant::Contestant;
use super::{cpu, progress};

/// One case: what each of several contestants costs.
pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) cells: Vec<Cell>,
}

/// One contestant's figure.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    /// What is shown: the median over the rounds, and the ratio to the first contestant's in the same round.
    pub(crate) value: f64,
    pub(crate) ratio: f64,
    /// What belongs to the figure besides.
    pub(crate) note: String,
}

/// A table of such rows.
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) rows: Vec<Row>,
}

/// One figure that stands alone, and what it should be.
pub(crate) struct Fact {
    pub(crate) what: &'static str,
    pub(crate) found: String,
    pub(crate) aim: &'static str,
}

/// What one round gave: the figure, and what else was seen.
pub(crate) struct Sample {
    pub(crate) value: f64,
    pub(crate) note: String,
}

/// Measures each of `contestants` in each of `rounds`, in changing order.
pub(crate) fn compare(
    case: &'static str,
    rounds: usize,
    contestants: &[Contestant],
    mut measure: impl FnMut(&Contestant) -> Result<Sample, String>,
) -> Row {
    let mut samples: Vec<Vec<Sample>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..contestants.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            match measure(&contestants[at]) {
                Ok(sample) => samples[at].push(sample),
                Err(error) => {
                    progress(&format!("{case}: {error}"));
                    samples[at].push(Sample { value: f64::NAN, note: String::new() });
                }
            }
        }
    }
    let cells = contestants.iter().zip(&samples).map(|(one, own)| {
        let ratios = own.iter().zip(&samples[0]).map(|(mine, base)| mine.value / base.value);
        Cell {
            name: one.name,
            value: median(own.iter().map(|sample| sample.value)),
            ratio: median(ratios),
            note: own.last().map(|sample| sample.note.clone()).unwrap_or_default(),
        }
    });
    let row = Row { case, cells: cells.collect() };
    let said = row
        .cells
        .iter()
        .map(|cell| format!("{} {:.3} ({:.2}) {}", cell.name, cell.value, cell.ratio, cell.note));
    progress(&format!("{case}: {}", said.collect::<Vec<_>>().join(" | ")));
    row
}

/// Processor seconds that `contestant` spends on what `work` does, in units of so much work.
pub(crate) fn cost<T>(
    contestant: &Contestant,
    units: f64,
    work: impl FnOnce() -> Result<T, String>,
) -> Result<(f64, T), String> {
    let before = cpu::seconds(&contestant.pids);
    let done = work()?;
    Ok(((cpu::seconds(&contestant.pids) - before) / units, done))
}

/// The middle one of those that are numbers.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    super::h2load::quantile(&sorted, 0.5)
}
