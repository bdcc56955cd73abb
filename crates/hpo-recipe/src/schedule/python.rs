//! What the Python of all schedules has in common: names, lengths, the warm-up around them.

use super::Schedule;
use crate::code::{Code, ScheduleCode, lines, python_flag, python_number, python_rounded};
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
            format!("max(1, round({} * {steps}))", self.literal(name))
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
    pub(super) fn warmup_lines(&self) -> Vec<String> {
        if self.warmup_steps() == 0 {
            return Vec::new();
        }
        vec![
            format!(
                "warmup_steps = max(1, round({} * total_steps))",
                self.literal("warmup_fraction")
            ),
            "main_steps = max(1, total_steps - warmup_steps)".to_owned(),
        ]
    }

    /// PyTorch's linear warm-up.
    pub(super) fn torch_warmup(&self) -> String {
        format!(
            "lr_scheduler.LinearLR(optimizer, start_factor={}, total_iters=warmup_steps)",
            self.literal("warmup_start_factor")
        )
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
pub(super) fn torch_plain(setup: Vec<String>, expression: String) -> ScheduleCode {
    ScheduleCode {
        code: Code {
            imports: vec![TORCH_IMPORT.to_owned()],
            setup,
            expression,
            notes: Vec::new(),
        },
        after_update: vec!["scheduler.step()".to_owned()],
        ..ScheduleCode::default()
    }
}

/// PyTorch's scheduler, behind the schedule's warm-up if it has one.
///
/// The schedule is built before its warm-up because some set the optimizer's first rate, and the
/// warm-up has to rise to that one.
pub(super) fn torch(schedule: &Schedule, setup: &str, expression: String) -> ScheduleCode {
    let mut all = schedule.warmup_lines();
    all.extend(lines(setup));
    if schedule.warmup_steps() == 0 {
        return torch_plain(all, expression);
    }
    all.push(format!("main = {expression}"));
    all.push(format!("warmup = {}", schedule.torch_warmup()));
    let expression =
        "lr_scheduler.SequentialLR(optimizer, [warmup, main], milestones=[warmup_steps])";
    torch_plain(all, expression.to_owned())
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
pub(super) fn keras_plain(setup: Vec<String>, expression: String) -> ScheduleCode {
    ScheduleCode {
        code: Code {
            imports: vec![KERAS_IMPORT.to_owned()],
            setup,
            expression,
            notes: Vec::new(),
        },
        ..ScheduleCode::default()
    }
}

/// Keras's learning-rate schedule, behind the schedule's warm-up if it has one.
pub(super) fn keras(schedule: &Schedule, setup: &str, expression: String) -> ScheduleCode {
    let mut all = Vec::new();
    if schedule.warmup_steps() > 0 {
        all.extend(lines(KERAS_WARMUP));
        all.push(String::new());
        all.push(String::new());
        all.extend(schedule.warmup_lines());
    }
    all.extend(lines(setup));
    if schedule.warmup_steps() == 0 {
        return keras_plain(all, expression);
    }
    let expression = format!(
        "Warmup({expression}, steps=warmup_steps, start_factor={})",
        schedule.literal("warmup_start_factor")
    );
    keras_plain(all, expression)
}

/// The same, with a callback that moves the momentum along another schedule if the schedule
/// drives it.
pub(super) fn keras_with_momentum(
    schedule: &Schedule,
    setup: &str,
    rate: String,
    momentum: &str,
) -> ScheduleCode {
    if !schedule.drives_momentum() {
        return keras(schedule, setup, rate);
    }
    let setup = format!(
        "{}\n\n\n{}",
        KERAS_MOMENTUM.trim(),
        setup.trim_matches('\n')
    );
    let mut code = keras(schedule, &setup, rate);
    let warmup = if schedule.warmup_steps() > 0 {
        ", warmup_steps"
    } else {
        ""
    };
    code.callbacks
        .push(format!("MomentumCycle({momentum}{warmup})"));
    code.code.notes.push(KERAS_MOMENTUM_NOTE.to_owned());
    code
}
