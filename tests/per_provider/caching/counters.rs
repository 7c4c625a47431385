//! What is counted for the recorder of the `metrics` crate.

use ::metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};

use super::*;

/// Adds up whatever is counted, by name and labels.
#[derive(Clone, Default)]
struct Sums(Arc<Mutex<BTreeMap<String, u64>>>);

struct Sum(Sums, String);

impl Sum {
    fn add(&self, value: u64) {
        *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
    }
}

impl CounterFn for Sum {
    fn increment(&self, value: u64) {
        self.add(value);
    }

    fn absolute(&self, _value: u64) {}
}

impl HistogramFn for Sum {
    fn record(&self, value: f64) {
        assert!((0.0..60.0).contains(&value));
        self.add(1);
    }
}

impl Sums {
    fn of(&self, key: &Key) -> Arc<Sum> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Sum(self.clone(), format!("{} {}", key.name(), labels.join(" "))))
    }
}

impl Recorder for Sums {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.of(key))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.of(key))
    }
}

#[test]
fn the_cache_counts_what_it_does() {
    let sums = Sums::default();
    let inner = inner();
    let (nanoseconds, clock) = set_clock();
    with_local_recorder(&sums, || {
        let manager = CachingManager::builder(&inner, cache(2), MINUTE).clock(clock).build().unwrap();
        let client = new_client();
        let message = client.encrypt(&keyring()).bytes(TEXT).wait().unwrap().message;
        for name in ["a", "a", "a", "b", "c"] {
            encrypt_in(&manager, &context(&[("name", name)]), 1).unwrap();
        }
        nanoseconds.fetch_add(60_000_000_000, Ordering::SeqCst);
        client.encrypt_with(&manager).copy(TEXT, &mut Vec::new()).unwrap();
        for _ in 0..3 {
            client.decrypt_with(&manager).bytes(&message).wait().unwrap();
        }
        inner.failing.store(true, Ordering::SeqCst);
        encrypt_in(&manager, &context(&[("name", "a")]), 1).unwrap_err();
    });
    let expected = [
        ("sealwax_cache_bypasses_total operation=encrypt", 1),
        ("sealwax_cache_evictions_total cause=age", 2),
        ("sealwax_cache_evictions_total cause=capacity", 1),
        ("sealwax_cache_hits_total operation=decrypt", 2),
        ("sealwax_cache_hits_total operation=encrypt", 2),
        ("sealwax_cache_inner_call_seconds operation=decrypt", 1),
        ("sealwax_cache_inner_call_seconds operation=encrypt", 5),
        ("sealwax_cache_inner_calls_total operation=decrypt outcome=ok", 1),
        ("sealwax_cache_inner_calls_total operation=encrypt outcome=error", 1),
        ("sealwax_cache_inner_calls_total operation=encrypt outcome=ok", 4),
        ("sealwax_cache_misses_total operation=decrypt", 1),
        ("sealwax_cache_misses_total operation=encrypt", 4),
    ];
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(*sums.0.lock().unwrap(), expected);
}
