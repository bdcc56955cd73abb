//! Main memory under a limit: real processes that take real memory.

use fake_nvml::{Device, State};

use super::{Machine, all_have_ended};

#[test]
fn a_trial_that_takes_more_main_memory_than_there_is_for_it_is_put_back_and_at_last_infeasible() {
    // The GPU is only what the fake trainer allocates on; the study knows of none.
    let machine = Machine::new(&State::of(vec![Device::new(0, 81_920)]));
    let parameters = format!(
        "host: {{values: [10, 30, 400]}}, mib: {{value: 10}}, steps: {{value: 3}}, pace: {{value: 0}}, {}",
        machine.gated()
    );
    machine.study(
        8,
        &parameters,
        "cpu: {max_parallel: 4, memory_limit: 300MiB}",
    );
    let mut hpo = machine.run();
    // The large ones are held until they are found; the small ones may go on.
    let is_small = |config: &hpo_study::Config| config.number("host") < Some(400.0);
    crate::bench::wait_for("the study to end", || {
        let history = machine.history();
        let trials = history.iter().flat_map(|history| history.trials());
        for trial in trials.filter(|t| t.state.is_active() && is_small(&t.config)) {
            machine.open(&trial.id.to_string());
        }
        hpo.is_over()
    });
    assert_eq!(hpo.code(), 0, "{}", machine.words());
    let trials = machine.bench.trials();
    assert_eq!(trials.len(), 8);
    all_have_ended(&trials);
    for trial in &trials {
        let fits = trial["params"]["host"].as_u64() < Some(400);
        let expected = if fits { "completed" } else { "infeasible" };
        assert_eq!(trial["state"], expected, "{trial:#}");
    }
    assert!(
        trials.iter().any(|t| t["state"] == "infeasible"),
        "none was too large"
    );
    let words = machine.words();
    assert!(words.contains("of the main memory"), "{words}");
}
