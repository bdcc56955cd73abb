//! Volumes, exactly. The time that takes grows exponentially with the number of objectives, so whoever asks says how much
//! may be spent.
//!
//! The algorithm is that of While, Bradstreet & Barone ("A fast way of calculating exact hypervolumes", IEEE TEVC 16(1),
//! 2012: WFG), in slices: in the order of the first objective, everything that an earlier point covers in the others it
//! covers beside a later one too, so what a point adds is a difference of volumes with one objective less. Three objectives
//! are swept (Fonseca, Paquete & López-Ibáñez, "An improved dimension-sweep algorithm for the hypervolume indicator",
//! CEC 2006).
//!
//! Points are rows of a flat list, as many numbers each as there are objectives.

/// How much may be spent on exact volumes, in numbers looked at: about a second for 10⁹ of them.
#[derive(Debug, Clone)]
pub struct Work(u64);

impl Work {
    /// So many numbers may be looked at.
    #[must_use]
    pub fn of(numbers: u64) -> Self {
        Self(numbers)
    }

    fn spend(&mut self, numbers: usize) -> Option<()> {
        self.0 = self.0.checked_sub(numbers as u64)?;
        Some(())
    }
}

/// What some points cover; `None` when the work does not suffice. All are better than the reference point everywhere.
pub(super) fn of_all(rows: Vec<f64>, reference: &[f64], work: &mut Work) -> Option<f64> {
    volume(&front_of(rows, reference.len(), work)?, reference, work)
}

/// What one adds to the volume of others; `None` when the work does not suffice. All are better than the reference point
/// everywhere.
pub(super) fn added<'a>(
    one: &[f64],
    others: impl Iterator<Item = &'a [f64]>,
    reference: &[f64],
    work: &mut Work,
) -> Option<f64> {
    let mut limited = Vec::new();
    for other in others {
        work.spend(one.len())?;
        let pairs = other.iter().zip(one);
        limited.extend(pairs.map(|(a, b)| a.max(*b)));
        if limited[limited.len() - one.len()..] == *one {
            return Some(0.0);
        }
    }
    Some((inclusive(one, reference) - of_all(limited, reference, work)?).max(0.0))
}

/// What one alone covers.
pub(super) fn inclusive(one: &[f64], reference: &[f64]) -> f64 {
    one.iter().zip(reference).map(|(x, r)| r - x).product()
}

/// Those that none dominates, each once, in lexicographic order.
fn front_of(rows: Vec<f64>, objectives: usize, work: &mut Work) -> Option<Vec<f64>> {
    let mut order: Vec<&[f64]> = rows.chunks_exact(objectives.max(1)).collect();
    work.spend(rows.len() * (usize::BITS - order.len().leading_zeros()) as usize)?;
    order.sort_unstable_by(|a, b| super::lexicographic(a, b));
    let mut front: Vec<f64> = Vec::with_capacity(rows.len());
    for one in order {
        // Sweeps pass over what is dominated; to them a pass in order is all that matters.
        if objectives > 3 {
            work.spend(front.len())?;
            let mut earlier = front.chunks_exact(objectives);
            if earlier.any(|other| other.iter().zip(one).all(|(a, b)| a <= b)) {
                continue;
            }
        }
        front.extend(one);
    }
    Some(front)
}

/// The volume of points in the order of their first objective.
fn volume(rows: &[f64], reference: &[f64], work: &mut Work) -> Option<f64> {
    work.spend(rows.len())?;
    let (Some((end, rest)), false) = (reference.split_first(), rows.is_empty()) else {
        return Some(0.0);
    };
    match rest {
        [] => Some(end - rows[0]),
        [upper] => Some(area(rows, *end, *upper)),
        [y, z] => Some(swept(rows, [*end, *y, *z])),
        _ => {
            let each = || rows.chunks_exact(reference.len());
            let mut sum = 0.0;
            for (i, one) in each().enumerate() {
                let earlier = each().take(i).map(|other| &other[1..]);
                sum += (end - one[0]) * added(&one[1..], earlier, rest, work)?;
            }
            Some(sum)
        }
    }
}

fn area(rows: &[f64], end: f64, mut upper: f64) -> f64 {
    let mut sum = 0.0;
    for one in rows.chunks_exact(2) {
        sum += (end - one[0]) * (upper - one[1]).max(0.0);
        upper = upper.min(one[1]);
    }
    sum
}

/// The volume of points of three objectives in the order of the first: a plane goes along it, in which the area that is
/// covered grows from point to point.
fn swept(rows: &[f64], reference: [f64; 3]) -> f64 {
    let [end, right, top] = reference;
    // What is covered in the plane: corners from left to right, each lower than the one before.
    let mut stairs: Vec<[f64; 2]> = Vec::new();
    let (mut covered, mut sum, mut at) = (0.0, 0.0, end);
    for one in rows.chunks_exact(3) {
        let [x, y, z] = [one[0], one[1], one[2]];
        sum += covered * (x - at);
        at = x;
        let from = stairs.partition_point(|[left, _]| *left < y);
        let before = from.checked_sub(1).map_or(top, |k| stairs[k][1]);
        if before <= z || stairs.get(from).is_some_and(|[l, h]| *l <= y && *h <= z) {
            continue;
        }
        let (mut left, mut level, mut until) = (y, before, from);
        while let Some([next, height]) = stairs.get(until).filter(|[_, height]| *height >= z) {
            covered += (next - left) * (level - z);
            (left, level, until) = (*next, *height, until + 1);
        }
        let next = stairs.get(until).map_or(right, |[next, _]| *next);
        covered += (next - left) * (level - z);
        stairs.splice(from..until, [[y, z]]);
    }
    sum + covered * (end - at)
}
