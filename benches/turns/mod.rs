//! Cases that take turns, so that variations of the machine affect all of them.

use std::time::Instant;

/// A benchmark case.
pub(crate) struct Case<'a> {
    provider: &'static str,
    name: String,
    /// The number of bytes or messages in a run.
    count: usize,
    run: Box<dyn FnMut() + 'a>,
    /// The indices of the cases that, run in sequence, bound this one.
    bounds: Vec<usize>,
    /// The seconds of each turn.
    times: Vec<f64>,
}

impl<'a> Case<'a> {
    pub(crate) fn new(provider: &'static str, name: impl Into<String>, count: usize, run: impl FnMut() + 'a) -> Self {
        Self { provider, name: name.into(), count, run: Box::new(run), bounds: Vec::new(), times: Vec::new() }
    }

    /// Compares this case with those at these indices.
    pub(crate) fn bounded(self, bounds: Vec<usize>) -> Self {
        Self { bounds, ..self }
    }
}

/// Runs the cases in turns, after one turn that does not count.
pub(crate) fn take_turns(cases: &mut [Case<'_>], rounds: usize) {
    for round in 0..=rounds {
        for case in &mut *cases {
            let start = Instant::now();
            (case.run)();
            if round > 0 {
                case.times.push(start.elapsed().as_secs_f64());
            }
        }
    }
}

/// The statistic that represents all turns of a case.
#[derive(Clone, Copy)]
pub(crate) enum Typical {
    /// The median; for ratios, the median of the ratios within each turn.
    Median,
    /// The fastest, for short runs on a machine that is busy with other things: some of them are
    /// not interrupted.
    Fastest,
}

impl Typical {
    fn of(self, values: impl Iterator<Item = f64>) -> f64 {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        match self {
            Self::Median => values[values.len() / 2],
            Self::Fastest => values[0],
        }
    }
}

/// Prints how fast the cases are, and their ratios to their bounds: 1 is as fast as the bound.
pub(crate) fn print_table(cases: &[Case<'_>], typical: Typical, unit: &str, show: impl Fn(f64) -> String) {
    println!("| provider | what | {unit} | of its bound | bound |");
    println!("|---|---|---:|---:|---|");
    let per_item = |case: &Case<'_>, turn: usize| case.times[turn] / case.count as f64;
    let each = |case: &Case<'_>| typical.of((0..case.times.len()).map(|turn| per_item(case, turn)));
    for case in cases {
        let bounds: Vec<_> = case.bounds.iter().map(|&index| &cases[index]).collect();
        let in_turn = |turn| bounds.iter().map(|bound| per_item(bound, turn)).sum::<f64>() / per_item(case, turn);
        let ratio = match typical {
            _ if bounds.is_empty() => String::new(),
            Typical::Median => format!("{:.2}", typical.of((0..case.times.len()).map(in_turn))),
            Typical::Fastest => format!("{:.2}", bounds.iter().map(|bound| each(bound)).sum::<f64>() / each(case)),
        };
        let names: Vec<_> = bounds.iter().map(|bound| &*bound.name).collect();
        let speed = show(1.0 / each(case));
        println!("| {} | {} | {speed} | {ratio} | {} |", case.provider, case.name, names.join(", then "));
    }
}
