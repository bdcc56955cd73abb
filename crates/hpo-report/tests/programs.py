"""Runs exported programs as they are and notes what their optimizers were set to.

Standard input: a JSON list of {"library": "pytorch" | "keras", "program": text}.
Standard output's last line: a JSON list of {"steps": [[lr, momentum or null], ...], "sizes": [batch
sizes], "val_losses": [one per epoch], "clips": bool, "error": text or null}, in the same order.
"""

import contextlib
import json
import os
import sys
import traceback

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

seen = None


def number(x):
    return float(keras.ops.convert_to_numpy(x)) if not isinstance(x, (int, float)) else float(x)


def before_torch_step(optimizer, args, kwargs):
    group = optimizer.param_groups[0]
    momentum = group["betas"][0] if "betas" in group else group.get("momentum")
    seen["steps"].append([number(group["lr"]), momentum])


register_optimizer_step_pre_hook(before_torch_step)


def before_forward(module, inputs):
    if seen is not None and seen["library"] == "pytorch" and isinstance(module, torch.nn.Sequential):
        if module.training:
            seen["sizes"].append(inputs[0].shape[0])
        else:
            seen["validated"] = True


torch.nn.modules.module.register_module_forward_pre_hook(before_forward)

plain_clip = torch.nn.utils.clip_grad_norm_


def noted_clip(parameters, max_norm, *args, **kwargs):
    seen["clips"] = True
    return plain_clip(parameters, max_norm, *args, **kwargs)


torch.nn.utils.clip_grad_norm_ = noted_clip


class Notes(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        optimizer = self.model.optimizer
        momentum = getattr(optimizer, "beta_1", getattr(optimizer, "momentum", None))
        seen["steps"].append([number(optimizer.learning_rate), None if momentum is None else number(momentum)])
        seen["clips"] = bool(optimizer.global_clipnorm)

    def on_epoch_end(self, epoch, logs=None):
        seen["val_losses"].append(float(logs["val_loss"]))


plain_fit = keras.Model.fit


def noted_fit(self, *args, callbacks=(), **kwargs):
    return plain_fit(self, *args, callbacks=[*callbacks, Notes()], **kwargs)


keras.Model.fit = noted_fit
keras.Sequential.fit = noted_fit

plain_call = keras.losses.SparseCategoricalCrossentropy.call


def noted_call(self, y_true, y_pred):
    if seen["library"] == "keras" and torch.is_grad_enabled() and y_pred.requires_grad:
        seen["sizes"].append(int(y_pred.shape[0]))
    return plain_call(self, y_true, y_pred)


keras.losses.SparseCategoricalCrossentropy.call = noted_call


def run(case):
    global seen
    seen = {"library": case["library"], "steps": [], "sizes": [], "val_losses": [], "clips": False, "error": None}
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    names = {"__name__": "__main__"}
    try:
        program = case["program"]
        if case["library"] == "pytorch":
            # The program prints its losses shortened; here they are kept whole.
            names["__note__"] = seen["val_losses"].append
            shown = '    print(f"epoch {epoch + 1}: val_loss {val_loss:.4f}")\n'
            assert shown in program
            program = program.replace(shown, shown + "    __note__(val_loss)\n")
        with contextlib.redirect_stdout(sys.stderr):
            exec(compile(program, case["library"], "exec"), names)
    except BaseException:
        seen["error"] = traceback.format_exc()
    return seen


results = [run(case) for case in json.load(sys.stdin)]
print(json.dumps(results))
