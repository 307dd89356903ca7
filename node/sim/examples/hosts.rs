use shoal_sim::{plan::*, policy::Policy, run::*};
use std::sync::Arc;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let text = shipped::find(&a[1])
        .map(str::to_owned)
        .unwrap_or_else(|| std::fs::read_to_string(&a[1]).unwrap());
    let plan = Arc::new(Plan::read(&text).unwrap());
    for seed in 1..4 {
        let o = Run::new(
            &plan,
            &Options {
                seed,
                policy: Policy::default(),
                policy_name: "x".into(),
                words: Words::None,
            },
            |_| None,
        )
        .unwrap()
        .finish();
        println!(
            "{:?} {:?}",
            o.hosts
                .iter()
                .map(|h| h.took().map_or(0.0, |t| (t.as_secs_f64() * 10.0).round() / 10.0))
                .collect::<Vec<_>>(),
            o.hosts
                .iter()
                .map(|h| ((h.uploaded_bytes as f64 / o.content_bytes as f64) * 100.0).round()
                    / 100.0)
                .collect::<Vec<_>>()
        );
    }
}
