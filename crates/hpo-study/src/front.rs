//! Several objectives at once: which results no other one is better than, and how much of the space of
//! objectives they cover. Pure functions of losses: one vector per trial, all of the same length, finite, smaller is
//! better in every entry.
//!
//! One result dominates another when it is nowhere worse and somewhere better. Those that nobody
//! dominates are the (Pareto) front.

mod sample;
mod volume;

pub use volume::Work;

/// Beyond the worst of every objective lies the point that hypervolumes are measured from, by this share of the
/// objective's range.
pub const MARGIN: f64 = 0.1;

/// What is spent on exact volumes before they are estimated, in numbers looked at ([`Work`]): some hundredths of a second.
const ENOUGH: u64 = 4_000_000;

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
/// better than it everywhere. Where that would take long (many objectives), to about one in a hundred.
#[must_use]
pub fn hypervolume(losses: &[Vec<f64>], reference: &[f64]) -> f64 {
    let inside: Vec<&[f64]> = inside(losses, reference).map(|(_, one)| one).collect();
    volume::of_all(inside.concat(), reference, &mut Work::of(ENOUGH))
        .unwrap_or_else(|| sample::of_all(&inside, reference))
}

/// Those that are better than the reference point everywhere, with their places in the list.
fn inside<'a>(
    losses: &'a [Vec<f64>],
    reference: &[f64],
) -> impl Iterator<Item = (usize, &'a [f64])> {
    let is_inside = move |one: &[f64]| one.iter().zip(reference).all(|(x, r)| x < r);
    let all = losses.iter().map(Vec::as_slice).enumerate();
    all.filter(move |(_, one)| is_inside(one))
}

/// What one adds to the volume of others: by how much the volume of all of them is larger with it; `None` when the work
/// does not suffice to know. All are better than the reference point everywhere.
#[must_use]
pub fn exclusive(
    one: &[f64],
    others: &[Vec<f64>],
    reference: &[f64],
    work: &mut Work,
) -> Option<f64> {
    volume::added(one, others.iter().map(Vec::as_slice), reference, work)
}

/// For each by how much the volume of all would be less without it. Where that would take long (many objectives), to
/// about one in a hundred of what it covers by itself.
#[must_use]
pub fn contributions(losses: &[Vec<f64>], reference: &[f64]) -> Vec<f64> {
    let (places, points): (Vec<usize>, Vec<&[f64]>) = inside(losses, reference).unzip();
    let mut work = Work::of(ENOUGH);
    let mut own = |i: usize| {
        let others = points.iter().enumerate().filter(|(j, _)| *j != i);
        let others = others.map(|(_, other)| *other);
        volume::added(points[i], others, reference, &mut work)
    };
    let exact: Option<Vec<f64>> = (0..points.len()).map(&mut own).collect();
    let volumes = exact.unwrap_or_else(|| sample::contributions(&points, reference));
    let mut all = vec![0.0; losses.len()];
    for (place, volume) in places.into_iter().zip(volumes) {
        all[place] = volume;
    }
    all
}

/// At most `count` of the losses, in the order in which each adds most to the volume of those before it (greedy
/// subset selection: Guerreiro, Fonseca & Paquete, "Greedy hypervolume subset selection in low dimensions",
/// Evolutionary Computation 24(3), 2016). The greedy volume is at least 63 % of the largest there is. Where volumes would
/// take long (many objectives) they are estimated. All losses are better than the reference point everywhere.
#[must_use]
pub fn widest(losses: &[Vec<f64>], reference: &[f64], count: usize) -> Vec<usize> {
    let count = count.min(losses.len());
    let mut work = Work::of(ENOUGH);
    let exact = |i: usize, taken: &[usize]| {
        let others = taken.iter().map(|j| losses[*j].as_slice());
        volume::added(&losses[i], others, reference, &mut work)
    };
    greedy(losses, reference, count, exact)
        .unwrap_or_else(|| widest_by_counting(losses, reference, count))
}

/// The same with estimates: of the places in the box of each those are counted that nobody taken covers.
fn widest_by_counting(losses: &[Vec<f64>], reference: &[f64], count: usize) -> Vec<usize> {
    let places = sample::Places::new(losses.len(), count, reference.len());
    // Of each the places that are free, and how many of those taken were asked.
    let every: Vec<u32> = places.all().collect();
    let mut free = vec![(every, 0); losses.len()];
    let estimate = |i: usize, taken: &[usize]| {
        let (one, (free, asked)) = (&losses[i], &mut free[i]);
        for other in &taken[*asked..] {
            free.retain(|k| !places.covers(&losses[*other], *k, one, reference));
        }
        *asked = taken.len();
        Some(volume::inclusive(one, reference) * places.share(free.len()))
    };
    greedy(losses, reference, count, estimate).unwrap_or_default()
}

/// So many of the losses, each the one that adds most to those taken before it; `None` when what one adds is not known.
fn greedy(
    losses: &[Vec<f64>],
    reference: &[f64],
    count: usize,
    mut added: impl FnMut(usize, &[usize]) -> Option<f64>,
) -> Option<Vec<usize>> {
    // What one adds never grows as others are taken, so an old number is an upper bound.
    let alone = |one: &Vec<f64>| volume::inclusive(one, reference);
    let mut bounds: Vec<(f64, usize)> = losses.iter().map(alone).zip(0..).collect();
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        bounds.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut best: Option<(f64, usize)> = None;
        for (k, (bound, i)) in bounds.iter_mut().enumerate() {
            if best.is_some_and(|(most, _)| *bound <= most) {
                break;
            }
            *bound = added(*i, &taken)?;
            if best.is_none_or(|(most, _)| *bound > most) {
                best = Some((*bound, k));
            }
        }
        let Some((_, k)) = best else { break };
        let (_, i) = bounds.swap_remove(k);
        taken.push(i);
        // What it shares with the latest alone is soon known.
        for (bound, j) in &mut bounds {
            let shared = losses[i].iter().zip(&losses[*j]).map(|(a, b)| a.max(*b));
            let shared: f64 = shared.zip(reference).map(|(x, r)| r - x).product();
            *bound = bound.min(alone(&losses[*j]) - shared);
        }
    }
    Some(taken)
}

/// The order from best to worst: layer by layer. Within a layer the first `widely` of all are in the order of
/// [`widest`], and the rest as they came.
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
            widest(&normalized(&own), &beyond(own[0].len()), wanted)
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
