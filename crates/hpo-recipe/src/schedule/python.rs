//! What the Python of all schedules has in common: names, lengths, the warm-up around them.

use super::Schedule;
use crate::code::{Code, ScheduleCode, python_flag, python_number, python_rounded, wrapped};
use crate::value::Value;

const TORCH_IMPORT: &str = "from torch.optim import lr_scheduler";
const KERAS_IMPORT: &str = "import keras";

/// Keras has a warm-up inside its cosine only; this wraps any schedule.
const KERAS_WARMUP: &str = r#"
class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """Rises on a line to the first rate of `schedule`, then follows it."""

    def __init__(self, schedule, steps, start_factor):
        self.schedule, self.steps, self.start_factor = schedule, steps, start_factor

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        rise = self.start_factor + (1 - self.start_factor) * step / self.steps
        after = self.schedule(keras.ops.maximum(step - self.steps, 0.0))
        return keras.ops.where(step < self.steps, self.schedule(0) * rise, after)

    def get_config(self):
        return vars(self)
"#;

/// Keras has no schedules for anything but the rate.
const KERAS_MOMENTUM: &str = r#"
class MomentumCycle(keras.callbacks.Callback):
    """Sets the momentum (beta_1 in the Adam family) before every update."""

    def __init__(self, momentum, warmup_steps=0):
        super().__init__()
        self.momentum, self.warmup_steps = momentum, warmup_steps

    def on_train_batch_begin(self, batch, logs=None):
        optimizer = self.model.optimizer
        step = max(0, int(optimizer.iterations) - self.warmup_steps)
        name = "beta_1" if hasattr(optimizer, "beta_1") else "momentum"
        setattr(optimizer, name, float(self.momentum(step)))
"#;

const KERAS_MOMENTUM_NOTE: &str = "TensorFlow and JAX compile the momentum into the update, where \
                                   the callback cannot reach it: use model.compile(run_eagerly=True) there.";

impl Schedule {
    /// The variable that holds the schedule's own horizon.
    pub(super) fn horizon_name(&self) -> &'static str {
        if self.warmup_steps() > 0 {
            "main_steps"
        } else {
            "total_steps"
        }
    }

    /// A knob's value as Python writes it.
    pub(super) fn literal(&self, name: &str) -> String {
        literal(self.value(name))
    }

    /// A knob that is a share of the run, in steps.
    pub(super) fn python_length(&self, name: &str) -> String {
        let steps = self.horizon_name();
        if self.number(name) == 1.0 {
            steps.to_owned()
        } else {
            format!("max(1, round({} * {steps}))", self.fraction(name))
        }
    }

    /// The line that defines `milestones`, in steps.
    pub(super) fn python_milestones(&self) -> String {
        format!(
            "milestones = [max(1, round(share * {})) for share in {}]",
            self.horizon_name(),
            self.literal("milestones")
        )
    }

    /// A knob that is a ratio of the learning rate, as a rate.
    pub(super) fn python_rate(&self, name: &str) -> String {
        python_rounded(self.number(name) * self.lr)
    }

    /// The learning rate.
    pub(super) fn python_lr(&self) -> String {
        python_number(self.lr)
    }

    /// The lines that define `warmup_steps` and `main_steps`; none without a warm-up.
    pub(super) fn warmup_lines(&self) -> String {
        if self.warmup_steps() == 0 {
            return String::new();
        }
        format!(
            "{}\nmain_steps = max(1, total_steps - warmup_steps)",
            self.warmup_line()
        )
    }

    /// The line that defines `warmup_steps`.
    pub(super) fn warmup_line(&self) -> String {
        format!(
            "warmup_steps = max(1, round({} * total_steps))",
            self.literal("warmup_fraction")
        )
    }

    /// PyTorch's linear warm-up.
    pub(super) fn torch_warmup(&self) -> String {
        format!(
            "lr_scheduler.LinearLR(optimizer, start_factor={}, total_iters=warmup_steps)",
            self.fraction("warmup_start_factor")
        )
    }

    /// A knob's value, for a place in a product: the common fractions as people write them.
    pub(super) fn fraction(&self, name: &str) -> String {
        let x = self.number(name);
        [3.0, 6.0, 7.0]
            .into_iter()
            .find(|n| 1.0 / n == x)
            .map_or_else(|| self.literal(name), |n| format!("1 / {n}"))
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(flag) => python_flag(*flag).to_owned(),
        Value::Int(i) => i.to_string(),
        Value::Float(x) => python_number(*x),
        Value::Text(text) => format!("{text:?}"),
        Value::List(items) => {
            format!(
                "[{}]",
                items.iter().map(literal).collect::<Vec<_>>().join(", ")
            )
        }
    }
}

/// PyTorch's scheduler as it is, stepped after every update.
pub(super) fn torch_plain(blocks: &[&str], expression: &str) -> ScheduleCode {
    ScheduleCode {
        code: code(TORCH_IMPORT, blocks, expression),
        after_update: vec!["scheduler.step()".to_owned()],
        ..ScheduleCode::default()
    }
}

/// PyTorch's scheduler, behind the schedule's warm-up if it has one.
///
/// The schedule is built before its warm-up because some set the optimizer's first rate, and the
/// warm-up has to rise to that one.
pub(super) fn torch(schedule: &Schedule, blocks: &[&str], expression: &str) -> ScheduleCode {
    if schedule.warmup_steps() == 0 {
        return torch_plain(blocks, expression);
    }
    let lengths = schedule.warmup_lines();
    let parts = format!(
        "{}\n{}",
        wrapped(&format!("main = {expression}")),
        wrapped(&format!("warmup = {}", schedule.torch_warmup()))
    );
    let blocks: Vec<&str> = [lengths.as_str()]
        .into_iter()
        .chain(blocks.iter().copied())
        .chain([parts.as_str()])
        .collect();
    torch_plain(
        &blocks,
        "lr_scheduler.SequentialLR(optimizer, [warmup, main], milestones=[warmup_steps])",
    )
}

/// The arguments that PyTorch's cycling schedulers take for the momentum.
pub(super) fn torch_momentum(schedule: &Schedule) -> Vec<String> {
    if !schedule.drives_momentum() {
        return vec!["cycle_momentum=False".to_owned()];
    }
    ["base_momentum", "max_momentum"]
        .iter()
        .map(|name| format!("{name}={}", schedule.literal(name)))
        .collect()
}

/// Keras's learning rate as it is.
pub(super) fn keras_plain(blocks: &[&str], expression: &str) -> ScheduleCode {
    ScheduleCode {
        code: code(KERAS_IMPORT, blocks, expression),
        ..ScheduleCode::default()
    }
}

/// Keras's learning-rate schedule, behind the schedule's warm-up if it has one. `blocks` are its
/// class, if it needs one, and the lines that come after.
pub(super) fn keras(schedule: &Schedule, blocks: &[&str], expression: &str) -> ScheduleCode {
    if schedule.warmup_steps() == 0 {
        return keras_plain(blocks, expression);
    }
    let lengths = schedule.warmup_lines();
    let (classes, lines): (Vec<&str>, Vec<&str>) =
        blocks.iter().copied().partition(|block| is_class(block));
    let blocks: Vec<&str> = [KERAS_WARMUP]
        .into_iter()
        .chain(classes)
        .chain([lengths.as_str()])
        .chain(lines)
        .collect();
    let expression = format!(
        "Warmup({expression}, steps=warmup_steps, start_factor={})",
        schedule.fraction("warmup_start_factor")
    );
    keras_plain(&blocks, &expression)
}

/// The same, with a callback that moves the momentum along another schedule if the schedule
/// drives it.
pub(super) fn keras_with_momentum(
    schedule: &Schedule,
    blocks: &[&str],
    rate: &str,
    momentum: &str,
) -> ScheduleCode {
    if !schedule.drives_momentum() {
        return keras(schedule, blocks, rate);
    }
    let blocks: Vec<&str> = [KERAS_MOMENTUM]
        .into_iter()
        .chain(blocks.iter().copied())
        .collect();
    let mut code = keras(schedule, &blocks, rate);
    let warmup = if schedule.warmup_steps() > 0 {
        ", warmup_steps"
    } else {
        ""
    };
    code.callbacks
        .push(wrapped(&format!("MomentumCycle({momentum}{warmup})")));
    code.code.notes.push(KERAS_MOMENTUM_NOTE.to_owned());
    code
}

/// Code from blocks of setup, each a class, a function or some plain lines.
fn code(import: &str, blocks: &[&str], expression: &str) -> Code {
    let mut setup: Vec<String> = Vec::new();
    let mut after_definition = false;
    for block in blocks
        .iter()
        .map(|block| block.trim_matches('\n'))
        .filter(|b| !b.is_empty())
    {
        let definition = is_class(block) || block.starts_with("def ");
        if after_definition || (definition && !setup.is_empty()) {
            setup.extend([String::new(), String::new()]);
        }
        setup.extend(block.lines().map(str::to_owned));
        after_definition = definition;
    }
    if after_definition {
        setup.extend([String::new(), String::new()]);
    }
    Code {
        imports: vec![import.to_owned()],
        setup,
        expression: wrapped(expression),
        notes: Vec::new(),
    }
}

fn is_class(block: &str) -> bool {
    block.trim_start().starts_with("class ")
}
