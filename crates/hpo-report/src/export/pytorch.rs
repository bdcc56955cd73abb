//! A PyTorch program: optimizer, schedule, and the loop that steps them.

use hpo_recipe::code::wrapped;
use hpo_study::{History, Trial};

use super::ExportError;
use super::lineage::{Library, comment, following};
use super::python::{block, comments, demonstration_rows, docstring, grows, imports, settings};
use super::recipe::Recipe;

pub(super) fn write(history: &History, trial: &Trial) -> Result<String, ExportError> {
    let following = following(history, trial, &Library::Pytorch)?;
    let first = following.as_ref().and_then(|f| history.trial(f.first));
    let mut recipe = Recipe::read(history, first.unwrap_or(trial))?;
    if let Some(following) = &following {
        recipe.epochs = following.epochs;
    }
    let optimizer = recipe.optimizer.pytorch();
    let schedule = recipe.schedule.pytorch();
    let rows = demonstration_rows(&recipe);
    let mut text = docstring(history, trial) + "\n";
    text += &imports(
        &[&optimizer.imports, &schedule.code.imports],
        &[
            "import torch",
            "from torch.utils.data import DataLoader, TensorDataset",
        ],
    );
    text += &format!(
        "\n# Yours: model, data, loss.\n\
         model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))\n\
         train_set = TensorDataset(torch.randn({rows}, 8), torch.randint(0, 3, ({rows},)))\n\
         val_set = TensorDataset(torch.randn(64, 8), torch.randint(0, 3, (64,)))\n\
         loss_function = torch.nn.CrossEntropyLoss()\n"
    );
    text += "\n# Found by hpo.\n";
    text += &comments(&recipe.notes);
    text += &settings(&recipe, rows);
    text += "\ntrain_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True)\n\
             steps_per_epoch = len(train_loader)\n\
             total_steps = epochs * steps_per_epoch\n\n";
    text += &comments(&optimizer.notes);
    text += &block(&optimizer.setup, "");
    text += &(wrapped(&format!("optimizer = {}", optimizer.expression)) + "\n\n");
    text += &comments(&schedule.code.notes);
    text += &block(&schedule.code.setup, "");
    text += &format!("scheduler = {}\n\n", schedule.code.expression);
    if let Some(following) = &following {
        text += &comment(&following.others);
        text += &following.table;
    }
    text += VALIDATE;
    text += if grows(&recipe) {
        GROWING_BATCHES
    } else if following.is_some() {
        FOLLOWING_BATCHES
    } else {
        BATCHES
    };
    text += UPDATE;
    if recipe.clip_norm.is_some() {
        text += "        torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)\n";
    }
    text += "        optimizer.step()\n";
    text += &block(&schedule.after_update, "        ");
    text += "    val_loss = validation_loss()\n";
    text += &block(&schedule.after_epoch, "    ");
    text += "    print(f\"epoch {epoch + 1}: val_loss {val_loss:.4f}\")\n";
    Ok(text)
}

const VALIDATE: &str = r#"
def validation_loss():
    model.eval()
    with torch.no_grad():
        inputs, targets = val_set[:]
        return loss_function(model(inputs), targets).item()


"#;

const BATCHES: &str = "for epoch in range(epochs):
    model.train()
    for inputs, targets in train_loader:
";

const FOLLOWING_BATCHES: &str = "for epoch in range(epochs):
    for group in optimizer.param_groups:
        group.update(changes.get(epoch, {}))
    model.train()
    for inputs, targets in train_loader:
";

const GROWING_BATCHES: &str = r#"def batches():
    """Rows in random order, cut into batches that grow with the update's number."""
    rows = []
    for step in range(total_steps):
        size = round(batch_size * batch_multiplier(step))
        while len(rows) < size:
            rows += torch.randperm(len(train_set)).tolist()
        yield train_set[rows[:size]]
        rows = rows[size:]


batch = batches()
for epoch in range(epochs):
    model.train()
    for _ in range(steps_per_epoch):
        inputs, targets = next(batch)
"#;

const UPDATE: &str = "        optimizer.zero_grad()
        loss_function(model(inputs), targets).backward()
";
