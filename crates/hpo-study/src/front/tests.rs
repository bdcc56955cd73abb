use super::*;
use proptest::prelude::*;
use serde_json::Value as Json;

fn floats(json: &Json) -> Vec<f64> {
    let float = |x: &Json| x.as_f64().unwrap_or(f64::INFINITY);
    json.as_array().unwrap().iter().map(float).collect()
}

/// `tests/reference/front.json` was made by `front.py` beside it, with Optuna 5.0.0.
#[test]
fn ranks_crowding_and_hypervolume_are_those_of_optuna() {
    let text = include_str!("../../tests/reference/front.json");
    let reference: Json = serde_json::from_str(text).unwrap();
    let cases = reference["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
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
        let volume = hypervolume(&losses, &floats(&case["reference"]));
        let expected = case["hypervolume"].as_f64().unwrap();
        assert!(close(volume, expected), "{volume} is not {expected}");
    }
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

    #[test]
    fn the_widest_few_cover_at_least_what_greed_promises(losses in points(2)) {
        let front: Vec<Vec<f64>> = front_of(losses);
        let all = widest(&front, &[1.1; 2], usize::MAX);
        prop_assert_eq!(all.len(), front.len());
        let volume = |indices: &[usize]| {
            let of: Vec<Vec<f64>> = indices.iter().map(|i| front[*i].clone()).collect();
            hypervolume(&of, &[1.1; 2])
        };
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
    for objectives in [MEASURABLE, MEASURABLE + 1, 16] {
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
