//! Several objectives at once: which results no other one is better than, and how much of the space of
//! objectives they cover. Pure functions of losses: one vector per trial, all of the same length, finite, smaller is
//! better in every entry.
//!
//! One result dominates another when it is nowhere worse and somewhere better. Those that nobody
//! dominates are the (Pareto) front.

/// Beyond the worst of every objective lies the point that hypervolumes are measured from, by this share of the
/// objective's range.
pub const MARGIN: f64 = 0.1;

/// Up to so many objectives volumes are measured. What that takes grows exponentially with their number: with eight, a hundred
/// results took seconds, with ten no end was seen.
pub const MEASURABLE: usize = 6;

/// Whether `a` is nowhere worse than `b`, and somewhere better.
#[must_use]
pub fn dominates(a: &[f64], b: &[f64]) -> bool {
    let pairs = || a.iter().zip(b);
    pairs().all(|(a, b)| a <= b) && pairs().any(|(a, b)| a < b)
}

/// For each how many layers of others must be taken away before nobody dominates it: 0 on the front, 1 on the front
/// of the rest, and so on. The non-dominated sort of Deb, Pratap, Agarwal & Meyarivan ("A fast and elitist multiobjective
/// genetic algorithm: NSGA-II", IEEE TEVC 6(2), 2002), found in the way of Zhang, Tian, Cheng & Jin ("An efficient
/// approach to nondominated sorting", IEEE TEVC 19(2), 2015: ENS-BS): in lexicographic order nobody is dominated by a
/// later one, and the layer is searched by halves.
#[must_use]
pub fn ranks(losses: &[Vec<f64>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..losses.len()).collect();
    order.sort_by(|a, b| lexicographic(&losses[*a], &losses[*b]));
    let two = losses.first().is_some_and(|first| first.len() <= 2);
    let mut layers: Vec<Vec<usize>> = Vec::new();
    let mut ranks = vec![0; losses.len()];
    for i in order {
        let is_beaten = |layer: &Vec<usize>| {
            // With two objectives the last one of a layer has the least of the second.
            let others = if two {
                &layer[layer.len() - 1..]
            } else {
                layer
            };
            let mut others = others.iter().rev();
            others.any(|other| dominates(&losses[*other], &losses[i]))
        };
        let rank = layers.partition_point(is_beaten);
        match layers.get_mut(rank) {
            Some(layer) => layer.push(i),
            None => layers.push(vec![i]),
        }
        ranks[i] = rank;
    }
    ranks
}

fn lexicographic(a: &[f64], b: &[f64]) -> std::cmp::Ordering {
    let pairs = a.iter().zip(b);
    let unequal = pairs.map(|(a, b)| a.total_cmp(b)).find(|o| o.is_ne());
    unequal.unwrap_or(std::cmp::Ordering::Equal)
}

/// How lonely each of a layer is: the sum over the objectives of the distance between its two neighbours, in shares of
/// the layer's range; infinite at the ends (Deb et al. 2002, section III-B).
#[must_use]
pub fn crowding(losses: &[&[f64]]) -> Vec<f64> {
    let mut distances = vec![0.0; losses.len()];
    let objectives = losses.first().map_or(0, |first| first.len());
    for j in 0..objectives {
        let mut order: Vec<usize> = (0..losses.len()).collect();
        order.sort_by(|a, b| losses[*a][j].total_cmp(&losses[*b][j]));
        let value = |k: usize| losses[order[k]][j];
        let last = order.len() - 1;
        let range = value(last) - value(0);
        if range.is_nan() || range <= 0.0 {
            continue;
        }
        distances[order[0]] = f64::INFINITY;
        distances[order[last]] = f64::INFINITY;
        for k in 1..last {
            let width = (value(k + 1) / range) - (value(k - 1) / range);
            distances[order[k]] += width;
        }
    }
    distances
}

/// The losses in shares of their ranges: 0 the best of an objective, 1 the worst. An objective in which all are alike
/// is 0 for all.
#[must_use]
pub fn normalized(losses: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let objectives = losses.first().map_or(0, Vec::len);
    let bounds: Vec<(f64, f64)> = (0..objectives)
        .map(|j| {
            let of = losses.iter().map(|l| l[j]);
            of.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
                (low.min(x), high.max(x))
            })
        })
        .collect();
    let share = |(x, (low, high)): (&f64, &(f64, f64))| {
        // Halved, since a range can be wider than a number can say.
        let range = high / 2.0 - low / 2.0;
        if range > 0.0 {
            (x / 2.0 - low / 2.0) / range
        } else {
            0.0
        }
    };
    let row = |l: &Vec<f64>| l.iter().zip(&bounds).map(share).collect();
    losses.iter().map(row).collect()
}

/// The volume of what is dominated by some of the losses and dominates the reference point; 0 for losses that are not
/// better than it everywhere. Two objectives by sweeping, more by the algorithm of While, Bradstreet & Barone ("A fast
/// way of calculating exact hypervolumes", IEEE TEVC 16(1), 2012: WFG).
#[must_use]
pub fn hypervolume(losses: &[Vec<f64>], reference: &[f64]) -> f64 {
    let inside = |l: &&Vec<f64>| l.iter().zip(reference).all(|(x, r)| x < r);
    let inside: Vec<Vec<f64>> = losses.iter().filter(inside).cloned().collect();
    volume(front_of(inside), reference)
}

/// Those that none dominates, each once, in lexicographic order.
fn front_of(mut losses: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    losses.sort_by(|a, b| lexicographic(a, b));
    losses.dedup();
    let mut front: Vec<Vec<f64>> = Vec::new();
    for one in losses {
        if !front.iter().any(|other| dominates(other, &one)) {
            front.push(one);
        }
    }
    front
}

/// The volume of a front in lexicographic order.
fn volume(front: Vec<Vec<f64>>, reference: &[f64]) -> f64 {
    match reference.len() {
        0 => 0.0,
        1 => front.first().map_or(0.0, |best| reference[0] - best[0]),
        2 => {
            let mut upper = reference[1];
            let mut sum = 0.0;
            for one in &front {
                sum += (reference[0] - one[0]) * (upper - one[1]).max(0.0);
                upper = upper.min(one[1]);
            }
            sum
        }
        _ => {
            let own = |i: usize| exclusive(&front[i], &front[i + 1..], reference);
            (0..front.len()).map(own).sum()
        }
    }
}

/// What one adds to the volume of others: by how much the volume of all of them is larger with it. All are better than the
/// reference point everywhere.
#[must_use]
pub fn exclusive(one: &[f64], others: &[Vec<f64>], reference: &[f64]) -> f64 {
    let inclusive: f64 = one.iter().zip(reference).map(|(x, r)| r - x).product();
    let limited = |other: &Vec<f64>| -> Vec<f64> {
        let pairs = other.iter().zip(one);
        pairs.map(|(a, b)| a.max(*b)).collect()
    };
    let limited = front_of(others.iter().map(limited).collect());
    inclusive - volume(limited, reference)
}

/// For each by how much the volume of all would be less without it.
#[must_use]
pub fn contributions(losses: &[Vec<f64>], reference: &[f64]) -> Vec<f64> {
    let all = hypervolume(losses, reference);
    let without = |i: usize| {
        let mut others = losses.to_vec();
        others.swap_remove(i);
        (all - hypervolume(&others, reference)).max(0.0)
    };
    (0..losses.len()).map(without).collect()
}

/// At most `count` of the losses, in the order in which each adds most to the volume of those before it (greedy
/// subset selection: Guerreiro, Fonseca & Paquete, "Greedy hypervolume subset selection in low dimensions",
/// Evolutionary Computation 24(3), 2016). The greedy volume is at least 63 % of the largest there is.
#[must_use]
pub fn widest(losses: &[Vec<f64>], reference: &[f64], count: usize) -> Vec<usize> {
    // What one adds never grows as others are chosen, so an old number is an upper bound.
    let mut bounds: Vec<(f64, usize)> = losses
        .iter()
        .map(|one| exclusive(one, &[], reference))
        .zip(0..)
        .collect();
    let (mut chosen, mut taken) = (Vec::new(), Vec::<Vec<f64>>::new());
    while chosen.len() < count && !bounds.is_empty() {
        bounds.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut best: Option<(f64, usize)> = None;
        for (k, (bound, i)) in bounds.iter_mut().enumerate() {
            if best.is_some_and(|(most, _)| *bound <= most) {
                break;
            }
            *bound = exclusive(&losses[*i], &taken, reference);
            if best.is_none_or(|(most, _)| *bound > most) {
                best = Some((*bound, k));
            }
        }
        let Some((_, k)) = best else { break };
        let (_, i) = bounds.swap_remove(k);
        taken.push(losses[i].clone());
        chosen.push(i);
    }
    chosen
}

/// The order from best to worst: layer by layer. Within a layer the first `widely` of all are in the order of
/// [`widest`], and the rest as they came. With more than [`MEASURABLE`] objectives they are the loneliest, by
/// [`crowding`].
#[must_use]
pub fn order(losses: &[Vec<f64>], widely: usize) -> Vec<usize> {
    let ranks = ranks(losses);
    let layers = ranks.iter().max().map_or(0, |most| most + 1);
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); layers];
    for (i, rank) in ranks.iter().enumerate() {
        members[*rank].push(i);
    }
    let mut order = Vec::with_capacity(losses.len());
    for layer in members {
        let wanted = widely.saturating_sub(order.len());
        let first = if wanted == 0 || layer.len() == 1 {
            Vec::new()
        } else {
            let own: Vec<Vec<f64>> = layer.iter().map(|i| losses[*i].clone()).collect();
            match own[0].len() {
                0..=MEASURABLE => widest(&normalized(&own), &beyond(own[0].len()), wanted),
                _ => loneliest(&own, wanted),
            }
        };
        let mut is_first = vec![false; layer.len()];
        for k in &first {
            is_first[*k] = true;
            order.push(layer[*k]);
        }
        order.extend((0..layer.len()).filter(|k| !is_first[*k]).map(|k| layer[k]));
    }
    order
}

/// At most `count` of the losses, the loneliest ([`crowding`]) first, and of those alike the earlier.
fn loneliest(losses: &[Vec<f64>], count: usize) -> Vec<usize> {
    let distances = crowding(&losses.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let mut order: Vec<usize> = (0..losses.len()).collect();
    order.sort_by(|a, b| distances[*b].total_cmp(&distances[*a]));
    order.truncate(count);
    order
}

/// The reference point for losses in shares of their ranges ([`normalized`]).
#[must_use]
pub fn beyond(objectives: usize) -> Vec<f64> {
    vec![1.0 + MARGIN; objectives]
}

/// The one to take where one must be taken: nearest to the point that has the best of every objective, each in shares
/// of the range that it has among those given (the compromise solution: Yu, "A class of solutions for group decision
/// problems", 1973; Zeleny, 1973; with Euclid's distance). Give it a front. The first of those alike; `None`
/// where there is none.
#[must_use]
pub fn compromise(losses: &[Vec<f64>]) -> Option<usize> {
    let distance = |l: &Vec<f64>| l.iter().map(|x| x * x).sum::<f64>();
    let distances: Vec<f64> = normalized(losses).iter().map(distance).collect();
    (0..losses.len()).min_by(|a, b| distances[*a].total_cmp(&distances[*b]))
}

#[cfg(test)]
mod tests;
