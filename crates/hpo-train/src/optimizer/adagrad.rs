//! AdaGrad (Duchi, Hazan and Singer 2011, JMLR 12), as `torch.optim.Adagrad` 2.15 computes it
//! without its own rate decay: s ← s + g², p ← p − η·g/(√s + ε). s starts at
//! `initial_accumulator_value`. L2 weight decay λ adds λ·p to g.

use candle_core::Result;
use hpo_recipe::optimizer::OptimizerSetting;

use super::fused::{Rule, Step, wrong_state};

pub(super) struct Adagrad {
    eps: f32,
    weight_decay: f32,
    initial: f32,
}

impl Adagrad {
    pub(super) fn new(setting: &OptimizerSetting) -> Self {
        Self {
            eps: setting.number("eps") as f32,
            weight_decay: setting.number("weight_decay") as f32,
            initial: setting.number("initial_accumulator_value") as f32,
        }
    }
}

impl Rule for Adagrad {
    fn buffers(&self) -> Vec<(&'static str, f32)> {
        vec![("sum", self.initial)]
    }

    fn update(
        &self,
        step: &Step,
        parameters: &mut [f32],
        gradients: &[f32],
        state: &mut [Vec<f32>],
    ) -> Result<()> {
        let [sums] = state else {
            return wrong_state("adagrad");
        };
        let (lr, eps, scale) = (step.lr as f32, self.eps, step.gradient_scale);
        let decay = self.weight_decay;
        for ((p, &g), s) in parameters.iter_mut().zip(gradients).zip(sums) {
            let g = g * scale + decay * *p;
            *s += g * g;
            *p -= lr * (g / (s.sqrt() + eps));
        }
        Ok(())
    }
}
