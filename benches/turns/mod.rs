//! Cases that take turns, so that the machine's moods fall on all of them.

use std::time::Instant;

/// Something to be timed.
pub(crate) struct Case<'a> {
    provider: &'static str,
    name: String,
    /// How many bytes or messages a run is about.
    count: usize,
    run: Box<dyn FnMut() + 'a>,
    /// Which of the cases bound this one, one after the other.
    bounds: Vec<usize>,
    /// Seconds, one for each turn.
    times: Vec<f64>,
}

impl<'a> Case<'a> {
    pub(crate) fn new(provider: &'static str, name: impl Into<String>, count: usize, run: impl FnMut() + 'a) -> Self {
        Self { provider, name: name.into(), count, run: Box::new(run), bounds: Vec::new(), times: Vec::new() }
    }

    /// This case is compared to those at these places.
    pub(crate) fn bounded(self, bounds: Vec<usize>) -> Self {
        Self { bounds, ..self }
    }
}

/// Runs the cases in turns, after one that does not count.
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

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints medians, and ratios to the bounds from the same turns: 1 is as fast as the bound.
pub(crate) fn print_table(cases: &[Case<'_>], unit: &str, show: impl Fn(f64) -> String) {
    println!("| provider | what | {unit} | of its bound | bound |");
    println!("|---|---|---:|---:|---|");
    let per_item = |case: &Case<'_>, turn: usize| case.times[turn] / case.count as f64;
    for case in cases {
        let speed = show(1.0 / median((0..case.times.len()).map(|turn| per_item(case, turn))));
        let bound = |turn| case.bounds.iter().map(|&index| per_item(&cases[index], turn)).sum::<f64>();
        let ratio = match &case.bounds[..] {
            [] => String::new(),
            _ => format!("{:.2}", median((0..case.times.len()).map(|turn| bound(turn) / per_item(case, turn)))),
        };
        let names: Vec<_> = case.bounds.iter().map(|&index| &*cases[index].name).collect();
        println!("| {} | {} | {speed} | {ratio} | {} |", case.provider, case.name, names.join(", then "));
    }
}
