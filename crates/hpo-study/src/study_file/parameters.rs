//! `parameters` to a search space: branches, conditions, and the order in which they can be decided.

use std::collections::{HashMap, HashSet};

use hpo_recipe::Value;

use super::domain;
use super::nearest;
use super::problem::{Problems, Span};
use super::ranges;
use super::shape::did_you_mean;
use super::yaml::{Key, Kind, Node};
use crate::space::{Branch, Clause, Condition, Domain, Parameter, Space};

/// More parameters than this are refused.
const MOST_PARAMETERS: usize = 10_000;

/// A parameter as it stands in the file, or as the recipe adds it.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) name: String,
    /// Where its name stands; for the recipe's, where `recipe` stands.
    pub(super) span: Span,
    pub(super) branches: Vec<DraftBranch>,
}

/// One branch of a [`Draft`].
#[derive(Debug, Clone)]
pub(super) struct DraftBranch {
    pub(super) span: Span,
    pub(super) when: Vec<DraftClause>,
    /// `None`: it is wrong, and has been reported.
    pub(super) domain: Option<Domain>,
    /// Where its values (or its bounds) stand.
    pub(super) values: Vec<(Value, Span)>,
}

/// One demand of a `when`, with its places.
#[derive(Debug, Clone)]
pub(super) struct DraftClause {
    pub(super) parameter: String,
    pub(super) span: Span,
    pub(super) any_of: Vec<(Value, Span)>,
}

impl DraftBranch {
    /// Where a value of the domain stands; else where the branch begins.
    pub(super) fn place_of(&self, value: &Value) -> Span {
        let place = self
            .values
            .iter()
            .find(|(v, span)| v.same(value) && span.len > 0);
        place.map_or(self.span, |(_, span)| *span)
    }

    fn clause(&self, parameter: &str) -> Option<&DraftClause> {
        self.when
            .iter()
            .find(|clause| clause.parameter == parameter)
    }

    /// Whether every configuration that satisfies `other` satisfies this too.
    fn covers(&self, other: &Self) -> bool {
        self.when.iter().all(|mine| {
            other.clause(&mine.parameter).is_some_and(|theirs| {
                theirs
                    .any_of
                    .iter()
                    .all(|(value, _)| mine.any_of.iter().any(|(v, _)| v.same(value)))
            })
        })
    }

    /// Whether no configuration satisfies both.
    fn excludes(&self, other: &Self) -> bool {
        self.when.iter().any(|mine| {
            other.clause(&mine.parameter).is_some_and(|theirs| {
                !theirs
                    .any_of
                    .iter()
                    .any(|(value, _)| mine.any_of.iter().any(|(v, _)| v.same(value)))
            })
        })
    }
}

/// Reads every entry of `parameters`.
pub(super) fn read(node: &Node, problems: &mut Problems) -> Vec<Draft> {
    let entries = node.entries();
    if entries.len() > MOST_PARAMETERS {
        problems.error(
            node.start(),
            format!(
                "there are {} parameters; {MOST_PARAMETERS} is the most",
                entries.len()
            ),
        );
        return Vec::new();
    }
    let mut drafts = Vec::with_capacity(entries.len());
    read_group(entries, "", &mut drafts, problems);
    if drafts.len() > MOST_PARAMETERS {
        problems.error(
            node.start(),
            format!("there are more than {MOST_PARAMETERS} parameters"),
        );
        return Vec::new();
    }
    drafts
}

/// The full names of the groups of nested parameters.
pub(super) fn groups(node: &Node) -> Vec<String> {
    fn collect(entries: &[(Key, Node)], above: &str, groups: &mut Vec<String>) {
        for (key, value) in entries {
            if let Some(inner) = value.get("parameters") {
                let name = format!("{above}{}", key.name);
                collect(inner.entries(), &format!("{name}."), groups);
                groups.push(name);
            }
        }
    }
    let mut groups = Vec::new();
    collect(node.entries(), "", &mut groups);
    groups
}

fn read_group(
    entries: &[(Key, Node)],
    above: &str,
    drafts: &mut Vec<Draft>,
    problems: &mut Problems,
) {
    for (key, value) in entries {
        if key.name.trim().is_empty() {
            problems.error(key.span, "a parameter needs a name");
        }
        let name = format!("{above}{}", key.name);
        if let Some(inner) = value.get("parameters") {
            if let Some((other, _)) = value.entries().iter().find(|(k, _)| k.name != "parameters") {
                problems.error_with_hint(
                    other.span,
                    format!("`{}` does not go with nested `parameters`", other.name),
                    "a group has `parameters` and nothing else; give each of them its own keys",
                );
            }
            read_group(inner.entries(), &format!("{name}."), drafts, problems);
            continue;
        }
        if let Some(first) = drafts.iter().find(|draft| draft.name == name) {
            problems.error_with_hint(
                key.span,
                format!("there are two parameters `{name}`"),
                format!(
                    "the other is on line {}: rename one of them",
                    first.span.line
                ),
            );
            continue;
        }
        drafts.push(Draft {
            branches: read_branches(value, &name, key.span, problems),
            name,
            span: key.span,
        });
    }
}

fn read_branches(value: &Node, name: &str, at: Span, problems: &mut Problems) -> Vec<DraftBranch> {
    if let Some(text) = value.text() {
        match ranges::read(text, name, value.span, problems) {
            ranges::Reading::Map(map) => return vec![read_branch(&map, name, at, problems)],
            ranges::Reading::Wrong => {
                return vec![DraftBranch {
                    span: value.span,
                    when: Vec::new(),
                    domain: None,
                    values: Vec::new(),
                }];
            }
            ranges::Reading::Text => {}
        }
    }
    match &value.kind {
        Kind::Map(_) => vec![read_branch(value, name, at, problems)],
        Kind::List(items) => items
            .iter()
            .filter(|item| matches!(item.kind, Kind::Map(_)))
            .map(|item| read_branch(item, name, item.start(), problems))
            .collect(),
        Kind::Null => Vec::new(),
        _ => vec![DraftBranch {
            span: value.span,
            when: Vec::new(),
            domain: value.value().map(Domain::Constant),
            values: value.value().map(|v| (v, value.span)).into_iter().collect(),
        }],
    }
}

fn read_branch(node: &Node, name: &str, at: Span, problems: &mut Problems) -> DraftBranch {
    let when = node.get("when").map_or(&[][..], Node::entries);
    let when = when
        .iter()
        .map(|(key, value)| read_clause(&key.name, key.span, value, problems));
    DraftBranch {
        span: at,
        when: when.collect(),
        domain: domain::read(node, name, at, problems),
        values: places(node),
    }
}

fn places(node: &Node) -> Vec<(Value, Span)> {
    let bounds = ["value", "min", "max"]
        .into_iter()
        .filter_map(|key| node.get(key));
    let choices = node.get("values").map_or(&[][..], Node::items);
    bounds
        .chain(choices)
        .filter_map(|n| Some((n.value()?, n.span)))
        .collect()
}

fn read_clause(parameter: &str, span: Span, node: &Node, problems: &mut Problems) -> DraftClause {
    let items = match &node.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    if items.is_empty() {
        problems.error_with_hint(
            span,
            format!("this `when` holds for no value of `{parameter}`"),
            "list at least one value",
        );
    }
    let any_of = items
        .iter()
        .filter_map(|item| Some((item.value()?, item.span)));
    DraftClause {
        parameter: parameter.to_owned(),
        span,
        any_of: any_of.collect(),
    }
}

/// Checks what the branches mean together, and puts the parameters in an order in which each comes
/// after those its conditions look at (else in the order of the file).
pub(super) fn assemble(drafts: &[Draft], problems: &mut Problems) -> Space {
    let by_name: HashMap<&str, &Draft> = drafts.iter().map(|d| (d.name.as_str(), d)).collect();
    for draft in drafts {
        for branch in &draft.branches {
            for clause in &branch.when {
                check_clause(draft, clause, &by_name, problems);
            }
        }
        check_branches(draft, problems);
    }
    let order = order(drafts, &by_name, problems);
    Space {
        parameters: order.into_iter().map(|i| finish(&drafts[i])).collect(),
    }
}

fn check_clause(
    draft: &Draft,
    clause: &DraftClause,
    by_name: &HashMap<&str, &Draft>,
    problems: &mut Problems,
) {
    let Some(other) = by_name.get(clause.parameter.as_str()) else {
        let names = names_near(&clause.parameter, by_name);
        problems.error_with_hint(
            clause.span,
            format!(
                "`when` names `{}`, which is not a parameter",
                clause.parameter
            ),
            did_you_mean(&clause.parameter, &names),
        );
        return;
    };
    let domains: Option<Vec<&Domain>> = other.branches.iter().map(|b| b.domain.as_ref()).collect();
    // Where a domain is wrong itself, nothing can be said about its values.
    let Some(domains) = domains.filter(|domains| !domains.is_empty()) else {
        return;
    };
    if other.name == draft.name {
        return; // a circle, reported as one
    }
    if domains.iter().any(|d| d.cardinality().is_none()) {
        problems.error_with_hint(
            clause.span,
            format!(
                "`when` looks at `{}`, which is a continuous range",
                other.name
            ),
            "a condition needs a parameter with listed values",
        );
        return;
    }
    for (value, span) in &clause.any_of {
        if domains.iter().any(|domain| domain.contains(value)) {
            continue;
        }
        problems.error_with_hint(
            *span,
            format!("`{}` can never be {value}", other.name),
            can_be(&domains, value),
        );
    }
}

/// The name nearest to a wrong one if there is one, else some names.
fn names_near<'a>(wrong: &str, by_name: &HashMap<&'a str, &Draft>) -> Vec<&'a str> {
    const SHOWN: usize = 20;
    const COMPARED: usize = 1000;
    if by_name.len() <= COMPARED
        && let Some(near) = nearest(wrong, by_name.keys().copied())
    {
        return vec![near];
    }
    let mut names: Vec<&str> = by_name.keys().copied().take(COMPARED).collect();
    names.sort_unstable();
    names.truncate(SHOWN);
    names
}

/// A hint that says what a parameter can be.
fn can_be(domains: &[&Domain], wrong: &Value) -> String {
    const SHOWN: usize = 12;
    let mut names: Vec<String> = Vec::new();
    for domain in domains {
        match domain {
            Domain::Categorical { choices, .. } => {
                names.extend(choices.iter().take(SHOWN).map(Value::to_string));
            }
            Domain::Constant(value) => names.push(value.to_string()),
            Domain::Int { low, high, .. } => names.push(format!("{low} to {high}")),
            Domain::Float { low, high, .. } => names.push(format!("{low} to {high}")),
            Domain::Law { .. } => names.push("a number".to_owned()),
        }
    }
    names.dedup();
    names.truncate(SHOWN);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    did_you_mean(&wrong.to_string(), &names)
}

/// Finds branches that can never be reached, or that overlap.
fn check_branches(draft: &Draft, problems: &mut Problems) {
    const MOST_COMPARED: usize = 200;
    let branches = &draft.branches[..draft.branches.len().min(MOST_COMPARED)];
    for (i, later) in branches.iter().enumerate() {
        let earlier = &branches[..i];
        if let Some(first) = earlier.iter().find(|first| first.covers(later)) {
            problems.error_with_hint(
                later.span,
                format!(
                    "this branch of `{}` is never reached: the one on line {} always holds too",
                    draft.name, first.span.line
                ),
                "give the branches different `when`s; one without a `when` goes last",
            );
        } else if !later.when.is_empty()
            && let Some(first) = earlier.iter().find(|first| !first.excludes(later))
        {
            problems.warning(
                later.span,
                format!(
                    "this branch of `{}` overlaps with the one on line {}",
                    draft.name, first.span.line
                ),
                "where both hold, the first one counts",
            );
        }
    }
}

/// An order of the parameters in which each comes after those it depends on.
fn order(drafts: &[Draft], by_name: &HashMap<&str, &Draft>, problems: &mut Problems) -> Vec<usize> {
    let needs = |draft: &Draft| -> HashSet<String> {
        let clauses = draft.branches.iter().flat_map(|b| &b.when);
        let names = clauses.map(|clause| clause.parameter.clone());
        names
            .filter(|name| by_name.contains_key(name.as_str()))
            .collect()
    };
    let mut waiting: Vec<(usize, HashSet<String>)> = drafts
        .iter()
        .enumerate()
        .map(|(i, draft)| (i, needs(draft)))
        .collect();
    let mut placed: HashSet<&str> = HashSet::new();
    let mut order = Vec::with_capacity(drafts.len());
    while !waiting.is_empty() {
        let before = order.len();
        waiting.retain(|(i, needs)| {
            let ready = needs.iter().all(|name| placed.contains(name.as_str()));
            if ready {
                placed.insert(drafts[*i].name.as_str());
                order.push(*i);
            }
            !ready
        });
        if order.len() == before {
            let stuck: HashMap<&str, &HashSet<String>> = waiting
                .iter()
                .map(|(i, needs)| (drafts[*i].name.as_str(), needs))
                .filter(|(name, _)| !placed.contains(name))
                .collect();
            let circle = find_circle(&waiting, &stuck, drafts);
            report_circle(&circle, problems);
            if circle.is_empty() {
                break;
            }
            // As if it were broken up, so that what lies behind it is looked at too.
            placed.extend(circle.iter().map(|draft| draft.name.as_str()));
        }
    }
    order
}

/// Follows the conditions from a parameter that cannot be placed until one comes up again.
fn find_circle<'a>(
    waiting: &[(usize, HashSet<String>)],
    stuck: &HashMap<&str, &HashSet<String>>,
    drafts: &'a [Draft],
) -> Vec<&'a Draft> {
    let start = waiting.iter().map(|(i, _)| &drafts[*i]);
    let mut path: Vec<&Draft> = start
        .filter(|draft| stuck.contains_key(draft.name.as_str()))
        .take(1)
        .collect();
    while let Some(last) = path.last() {
        let needs = stuck.get(last.name.as_str());
        let next = needs.and_then(|needs| {
            let names = needs.iter().map(String::as_str);
            names.filter(|name| stuck.contains_key(name)).min()
        });
        let Some(next) = next.and_then(|name| drafts.iter().find(|d| d.name == name)) else {
            break;
        };
        if let Some(begin) = path.iter().position(|draft| draft.name == next.name) {
            return path.split_off(begin);
        }
        path.push(next);
    }
    Vec::new()
}

fn report_circle(circle: &[&Draft], problems: &mut Problems) {
    let Some(first) = circle.iter().min_by_key(|draft| draft.span.offset) else {
        return;
    };
    let links: Vec<String> = circle
        .iter()
        .zip(circle.iter().cycle().skip(1))
        .map(|(a, b)| format!("`{}` depends on `{}`", a.name, b.name))
        .collect();
    let clauses = first.branches.iter().flat_map(|b| &b.when);
    let clause = clauses
        .into_iter()
        .find(|c| circle.iter().any(|d| d.name == c.parameter));
    problems.error_with_hint(
        clause.map_or(first.span, |clause| clause.span),
        format!("the conditions go in a circle: {}", links.join(", ")),
        "remove one of these `when`s",
    );
}

fn finish(draft: &Draft) -> Parameter {
    let branches = draft.branches.iter().filter_map(|branch| {
        let clauses = branch.when.iter().map(|clause| Clause {
            parameter: clause.parameter.clone(),
            any_of: clause
                .any_of
                .iter()
                .map(|(value, _)| value.clone())
                .collect(),
        });
        Some(Branch {
            when: Condition(clauses.collect()),
            domain: branch.domain.clone()?,
        })
    });
    Parameter {
        name: draft.name.clone(),
        branches: branches.collect(),
    }
}
