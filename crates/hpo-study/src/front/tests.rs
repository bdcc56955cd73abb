use super::*;
use proptest::prelude::*;
use serde_json::Value as Json;

fn floats(json: &Json) -> Vec<f64> {
    let float = |x: &Json| x.as_f64().unwrap_or(f64::INFINITY);
    json.as_array().unwrap().iter().map(float).collect()
}

/// `tests/reference/front.json` was made by `front.py` beside it, with Optuna 5.0.0.
#[test]
fn ranks_crowding_and_volumes_are_those_of_optuna() {
    let text = include_str!("../../tests/reference/front.json");
    let reference: Json = serde_json::from_str(text).unwrap();
    let cases = reference["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 11);
    for case in cases {
        let losses: Vec<Vec<f64>> = case["losses"]
            .as_array()
            .unwrap()
            .iter()
            .map(floats)
            .collect();
        let expected: Vec<usize> = floats(&case["ranks"]).iter().map(|r| *r as usize).collect();
        let ranks = ranks(&losses);
        assert_eq!(ranks, expected);
        let close = |a: f64, b: f64| a == b || (a - b).abs() < 1e-9 * (1.0 + b.abs());
        let front: Vec<&[f64]> = (0..losses.len())
            .filter(|i| ranks[*i] == 0)
            .map(|i| losses[i].as_slice())
            .collect();
        // Among equal values which neighbour counts is a matter of order; those are left out.
        let is_alone = |one: &[f64]| {
            let same = |other: &&&[f64]| one.iter().zip(**other).any(|(a, b)| a == b);
            front.iter().filter(same).count() == 1
        };
        let theirs = floats(&case["crowding"]);
        for (k, distance) in crowding(&front).into_iter().enumerate() {
            let all_alone = front.iter().all(|one| is_alone(one));
            assert!(
                !all_alone || close(distance, theirs[k]),
                "{distance} is not {}",
                theirs[k]
            );
        }
        let end = floats(&case["reference"]);
        let volume = hypervolume(&losses, &end);
        let expected = case["hypervolume"].as_f64().unwrap();
        assert!(close(volume, expected), "{volume} is not {expected}");
        let parts = contributions(&losses, &end);
        for (part, expected) in parts.iter().zip(floats(&case["contributions"])) {
            assert!(close(*part, expected), "{part} is not {expected}");
        }
        // Of points that add the same either may come first: what they cover is what counts.
        let front: Vec<Vec<f64>> = front.into_iter().map(<[f64]>::to_vec).collect();
        let theirs = floats(&case["widest"]);
        let ours = widest(&front, &end, theirs.len());
        assert_eq!(ours.len(), theirs.len());
        for count in 1..=ours.len() {
            let theirs: Vec<usize> = theirs.iter().map(|k| *k as usize).collect();
            let [ours, theirs] =
                [&ours[..count], &theirs[..count]].map(|k| covered(&front, k, &end));
            assert!(close(ours, theirs), "{count}: {ours} is not {theirs}");
        }
    }
}

/// What some of a front cover.
fn covered(front: &[Vec<f64>], some: &[usize], end: &[f64]) -> f64 {
    let some: Vec<Vec<f64>> = some.iter().map(|k| front[*k].clone()).collect();
    hypervolume(&some, end)
}

/// A front that bends towards the best of all, or away from it.
fn sphere(points: usize, objectives: usize, towards: bool) -> Vec<Vec<f64>> {
    let number = |i: usize| (crate::seed::mix(i as u64) >> 11) as f64 / (1_u64 << 53) as f64 + 0.01;
    let one = |i: usize| -> Vec<f64> {
        let numbers = (0..objectives).map(|j| number(i * objectives + j));
        let numbers: Vec<f64> = numbers.collect();
        let length = numbers.iter().map(|x| x * x).sum::<f64>().sqrt();
        let on = |x: &f64| {
            if towards {
                1.0 - x / length
            } else {
                x / length
            }
        };
        numbers.iter().map(on).collect()
    };
    (0..points).map(one).collect()
}

#[test]
fn what_is_estimated_is_near_what_is_exact() {
    for (objectives, towards) in [(2, true), (3, false), (5, true), (5, false)] {
        let losses = normalized(&sphere(40, objectives, towards));
        let end = beyond(objectives);
        let points: Vec<&[f64]> = losses.iter().map(Vec::as_slice).collect();
        let exact = hypervolume(&losses, &end);
        let estimate = sample::of_all(&points, &end);
        assert!((estimate / exact - 1.0).abs() < 0.03, "{estimate} {exact}");
        let pairs = contributions(&losses, &end).into_iter();
        for (k, (exact, estimate)) in pairs.zip(sample::contributions(&points, &end)).enumerate() {
            let alone = volume::inclusive(&losses[k], &end);
            assert!(
                (estimate - exact).abs() < 0.06 * alone,
                "{estimate} {exact}"
            );
        }
        let exact = covered(&losses, &widest(&losses, &end, 10), &end);
        let few = widest_by_counting(&losses, &end, 10);
        assert_eq!(few.len(), 10);
        let estimate = covered(&losses, &few, &end);
        assert!(estimate > 0.98 * exact, "{estimate} {exact}");
    }
}

#[test]
fn too_little_work_says_so_and_enough_does_not() {
    let losses = sphere(20, 6, true);
    let (one, others) = losses.split_first().unwrap();
    let end = [1.5; 6];
    assert_eq!(exclusive(one, others, &end, &mut Work::of(1000)), None);
    let exact = exclusive(one, others, &end, &mut Work::of(u64::MAX)).unwrap();
    assert!(exact > 0.0);
    let more = hypervolume(&losses, &end) - hypervolume(others, &end);
    assert!((exact - more).abs() < 1e-9, "{exact} {more}");
}

/// With this many objectives exact volumes had no end. What is spent is bounded, so this is over soon, whatever the machine.
#[test]
fn as_many_objectives_as_a_study_may_have_are_soon_measured() {
    let end = beyond(crate::spec::MOST_OBJECTIVES);
    for towards in [true, false] {
        let losses = normalized(&sphere(50, end.len(), towards));
        let all = hypervolume(&losses, &end);
        let parts = contributions(&losses, &end);
        assert!(
            all > 0.0 && parts.iter().sum::<f64>() <= 1.05 * all,
            "{all}"
        );
        let few = widest(&losses, &end, 25);
        assert_eq!(few.len(), 25);
        assert_eq!(few, widest(&losses, &end, 25));
        let some = covered(&losses, &few, &end);
        assert!(some > 0.2 * all && some < 1.05 * all, "{some} of {all}");
    }
}

#[test]
fn nobody_covers_nothing() {
    assert_eq!(hypervolume(&[], &[1.0; 7]), 0.0);
    assert_eq!(hypervolume(&[vec![2.0; 7]], &[1.0; 7]), 0.0);
    assert_eq!(
        contributions(&[vec![2.0, 0.0], vec![0.0, 0.5]], &[1.0; 2]),
        [0.0, 0.5]
    );
    assert!(widest(&[], &[1.0; 2], 3).is_empty() && sample::of_all(&[], &[1.0; 2]) == 0.0);
}

fn points(objectives: usize) -> impl Strategy<Value = Vec<Vec<f64>>> {
    let entry = (0_u8..12).prop_map(|x| f64::from(x) / 12.0);
    prop::collection::vec(prop::collection::vec(entry, objectives), 0..24)
}

proptest! {
    #[test]
    fn a_rank_is_one_more_than_the_worst_of_those_that_dominate(
        losses in (1_usize..5).prop_flat_map(points)
    ) {
        let ranks = ranks(&losses);
        for (i, own) in losses.iter().enumerate() {
            let above = (0..losses.len()).filter(|j| dominates(&losses[*j], own));
            prop_assert_eq!(ranks[i], above.map(|j| ranks[j] + 1).max().unwrap_or(0));
        }
        let order = order(&losses, 5);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        prop_assert!(sorted.into_iter().eq(0..losses.len()));
        prop_assert!(order.windows(2).all(|w| ranks[w[0]] <= ranks[w[1]]));
    }

    /// By counting cells of a grid, on whose lines all points lie.
    #[test]
    fn the_hypervolume_is_the_share_of_cells_that_somebody_dominates(losses in points(3)) {
        let dominated = |cell: [u8; 3]| {
            let corner = cell.map(|x| (f64::from(x) + 0.5) / 12.0);
            losses.iter().any(|l| l.iter().zip(corner).all(|(a, b)| *a < b))
        };
        let mut cells = 0;
        for a in 0..12 {
            for b in 0..12 {
                cells += (0..12).filter(|c| dominated([a, b, *c])).count();
            }
        }
        let volume = hypervolume(&losses, &[1.0; 3]);
        prop_assert!((volume - cells as f64 / 1728.0).abs() < 1e-9);
        let parts = contributions(&losses, &[1.0; 3]);
        prop_assert!(parts.iter().all(|p| *p >= 0.0 && *p <= volume + 1e-12));
    }

    /// Every objective more is one more level of slices.
    #[test]
    fn with_an_objective_in_which_all_are_alike_the_volume_is_as_high(
        losses in (2_usize..5).prop_flat_map(points), places in prop::collection::vec(0_usize..5, 3)
    ) {
        let end = vec![1.1; losses.first().map_or(2, Vec::len)];
        let flat = hypervolume(&losses, &end);
        let mut high = losses;
        for place in places {
            for one in &mut high {
                one.insert(place.min(one.len()), 0.5);
            }
        }
        let more = hypervolume(&high, &vec![1.1; end.len() + 3]);
        prop_assert!((more - flat * 0.6 * 0.6 * 0.6).abs() < 1e-9, "{} {}", more, flat);
    }

    #[test]
    fn the_widest_few_cover_at_least_what_greed_promises(losses in points(2)) {
        let ranks = ranks(&losses);
        let mut front: Vec<Vec<f64>> = losses.into_iter().zip(ranks).filter(|p| p.1 == 0).map(|p| p.0).collect();
        front.sort_by(|a, b| lexicographic(a, b));
        front.dedup();
        let all = widest(&front, &[1.1; 2], usize::MAX);
        prop_assert_eq!(all.len(), front.len());
        let volume = |indices: &[usize]| covered(&front, indices, &[1.1; 2]);
        prop_assert_eq!(&widest(&front, &[1.1; 2], 2), &all[..front.len().min(2)]);
        let best = (0..front.len())
            .flat_map(|i| (i..front.len()).map(move |j| [i, j]))
            .map(|pair| volume(&pair))
            .fold(0.0, f64::max);
        prop_assert!(volume(&all[..front.len().min(2)]) >= 0.63 * best);
    }
}

#[test]
fn the_compromise_is_nearest_to_the_best_of_all() {
    let front = [vec![0.0, 1e6], vec![1.0, 2e5], vec![10.0, 0.0]];
    assert_eq!(compromise(&front), Some(1));
    assert_eq!(compromise(&front[..1]), Some(0));
    assert_eq!(compromise(&[vec![2.0, 2.0], vec![2.0, 2.0]]), Some(0));
    assert_eq!(compromise(&[]), None);
}

#[test]
fn numbers_as_large_as_there_are_do_no_harm() {
    let losses = [
        vec![f64::MAX, f64::MIN],
        vec![f64::MIN, f64::MAX],
        vec![0.0, 0.0],
    ];
    let shares = normalized(&losses);
    assert!(
        shares.iter().flatten().all(|x| (0.0..=1.0).contains(x)),
        "{shares:?}"
    );
    assert_eq!(order(&losses, 3).len(), 3);
    let rows: Vec<&[f64]> = losses.iter().map(Vec::as_slice).collect();
    assert!(crowding(&rows).iter().all(|d| !d.is_nan()));
}

#[test]
fn many_objectives_are_ordered_at_once() {
    for objectives in [6, 7, 16] {
        let own = |i: usize, j: usize| ((i * (2 * j + 1) + j * j) % 53) as f64;
        let loss = |i: usize| (0..objectives).map(|j| own(i, j)).collect();
        let mut losses: Vec<Vec<f64>> = (0..60).map(loss).collect();
        // Dominated by its neighbour.
        losses.push(losses[7].iter().map(|x| x + 1.0).collect());
        let order = order(&losses, 64);
        let mut all = order.clone();
        all.sort_unstable();
        assert_eq!(all, (0..losses.len()).collect::<Vec<_>>());
        let place = |i| order.iter().position(|other| *other == i).unwrap();
        assert!(place(7) < place(60));
        let layers = ranks(&losses);
        assert!(order.windows(2).all(|w| layers[w[0]] <= layers[w[1]]));
    }
}
