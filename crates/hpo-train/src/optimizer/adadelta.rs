//! AdaDelta (Zeiler 2012, arXiv 1212.5701), as `torch.optim.Adadelta` 2.15 computes it:
//! v ← ρ·v + (1−ρ)·g², δ = √(a + ε)/√(v + ε)·g, a ← ρ·a + (1−ρ)·δ², p ← p − η·δ.
//! L2 weight decay λ adds λ·p to g.

use candle_core::Result;
use hpo_recipe::optimizer::OptimizerSetting;

use super::fused::{Rule, Step, wrong_state};

pub(super) struct Adadelta {
    rho: f64,
    eps: f32,
    weight_decay: f32,
}

impl Adadelta {
    pub(super) fn new(setting: &OptimizerSetting) -> Self {
        Self {
            rho: setting.number("rho"),
            eps: setting.number("eps") as f32,
            weight_decay: setting.number("weight_decay") as f32,
        }
    }
}

impl Rule for Adadelta {
    fn buffers(&self) -> Vec<(&'static str, f32)> {
        vec![("square_avg", 0.0), ("acc_delta", 0.0)]
    }

    fn update(
        &self,
        step: &Step,
        parameters: &mut [f32],
        gradients: &[f32],
        state: &mut [Vec<f32>],
    ) -> Result<()> {
        let [squares, deltas] = state else {
            return wrong_state("adadelta");
        };
        let (lr, eps, scale) = (step.lr as f32, self.eps, step.gradient_scale);
        let (rho, weight) = (self.rho as f32, (1.0 - self.rho) as f32);
        let decay = self.weight_decay;
        for (((p, &g), v), a) in parameters
            .iter_mut()
            .zip(gradients)
            .zip(squares)
            .zip(deltas)
        {
            let g = g * scale + decay * *p;
            *v = rho * *v + weight * (g * g);
            let delta = (*a + eps).sqrt() / (*v + eps).sqrt() * g;
            *a = rho * *a + weight * (delta * delta);
            *p -= lr * delta;
        }
        Ok(())
    }
}
