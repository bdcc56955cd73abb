//! Shell assignments, one per line: `set -a; eval "$(hpo best -f env)"; set +a`.

use hpo_study::Trial;

use super::ExportError;

pub(super) fn write(trial: &Trial) -> Result<String, ExportError> {
    let mut text = String::new();
    let mut seen: Vec<(String, &str)> = Vec::new();
    for (name, value) in &trial.config {
        let variable = variable(name);
        if let Some((_, first)) = seen.iter().find(|(v, _)| *v == variable) {
            return Err(ExportError::SameVariable {
                first: (*first).to_owned(),
                second: name.clone(),
                variable,
            });
        }
        text += &format!(
            "{variable}={}\n",
            super::shell_quoted(&hpo_study::command::python(value))
        );
        seen.push((variable, name));
    }
    Ok(text)
}

/// The parameter's name with everything that a shell variable cannot have replaced by `_`.
fn variable(name: &str) -> String {
    let mut variable: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    if !variable.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        variable.insert(0, '_');
    }
    variable
}
