//! Gradient descent: p ← p − η·g. With mini-batches it is SGD (Robbins and Monro 1951), with the
//! full batch GD. L2 weight decay λ adds λ·p to g, as `torch.optim.SGD` 2.15 does.

use candle_core::Result;
use hpo_recipe::optimizer::OptimizerSetting;

use super::fused::{Rule, Step};

pub(super) struct Sgd {
    weight_decay: f32,
}

impl Sgd {
    pub(super) fn new(setting: &OptimizerSetting) -> Self {
        Self {
            weight_decay: setting.number("weight_decay") as f32,
        }
    }
}

impl Rule for Sgd {
    fn buffers(&self) -> Vec<(&'static str, f32)> {
        Vec::new()
    }

    fn update(
        &self,
        step: &Step,
        parameters: &mut [f32],
        gradients: &[f32],
        _: &mut [Vec<f32>],
    ) -> Result<()> {
        let (lr, scale, decay) = (step.lr as f32, step.gradient_scale, self.weight_decay);
        for (p, &g) in parameters.iter_mut().zip(gradients) {
            *p -= lr * (g * scale + decay * *p);
        }
        Ok(())
    }
}
