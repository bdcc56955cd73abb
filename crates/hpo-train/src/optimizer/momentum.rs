//! SGD with heavy-ball momentum (Polyak 1964) or Nesterov momentum (Sutskever et al. 2013), in
//! the form of `torch.optim.SGD` 2.15 without dampening: b ← μ·b + g, then p ← p − η·b, or with
//! Nesterov p ← p − η·(g + μ·b). L2 weight decay λ adds λ·p to g.

use candle_core::Result;
use hpo_recipe::optimizer::OptimizerSetting;

use super::fused::{Rule, Step, wrong_state};

pub(super) struct Momentum {
    momentum: f64,
    nesterov: bool,
    weight_decay: f32,
}

impl Momentum {
    pub(super) fn new(setting: &OptimizerSetting, nesterov: bool) -> Self {
        Self {
            momentum: setting.number("momentum"),
            nesterov,
            weight_decay: setting.number("weight_decay") as f32,
        }
    }
}

impl Rule for Momentum {
    fn buffers(&self) -> Vec<(&'static str, f32)> {
        vec![("momentum_buffer", 0.0)]
    }

    fn update(
        &self,
        step: &Step,
        parameters: &mut [f32],
        gradients: &[f32],
        state: &mut [Vec<f32>],
    ) -> Result<()> {
        let [buffer] = state else {
            return wrong_state("momentum");
        };
        let momentum = step.momentum.unwrap_or(self.momentum) as f32;
        let (lr, scale, decay) = (step.lr as f32, step.gradient_scale, self.weight_decay);
        let all = parameters.iter_mut().zip(gradients).zip(buffer);
        if self.nesterov {
            for ((p, &g), b) in all {
                let g = g * scale + decay * *p;
                *b = momentum * *b + g;
                *p -= lr * (g + momentum * *b);
            }
        } else {
            for ((p, &g), b) in all {
                *b = momentum * *b + (g * scale + decay * *p);
                *p -= lr * *b;
            }
        }
        Ok(())
    }
}
