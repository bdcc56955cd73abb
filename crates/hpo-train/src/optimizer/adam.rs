//! Adam (Kingma and Ba 2015, arXiv 1412.6980) and AdamW (Loshchilov and Hutter 2019, arXiv
//! 1711.05101), as `torch.optim.Adam` and `AdamW` 2.15 compute them:
//! m ← β1·m + (1−β1)·g, v ← β2·v + (1−β2)·g², p ← p − η/(1−β1ᵗ) · m / (√v/√(1−β2ᵗ) + ε).
//!
//! Weight decay λ is coupled in Adam (λ·p is added to g and so rescaled by the second moment) and
//! decoupled in AdamW (p ← p·(1 − η·λ) first). A driven momentum replaces β1, also in the bias
//! correction, as in torch.

use candle_core::Result;
use hpo_recipe::optimizer::OptimizerSetting;

use super::fused::{Rule, Step, lerp, wrong_state};
use super::signals::Sums;

/// How weight decay enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decay {
    /// As L2 penalty in the gradient.
    Coupled,
    /// On the parameters, beside the gradient.
    Decoupled,
}

pub(super) struct Adam {
    beta1: f64,
    beta2: f64,
    eps: f32,
    weight_decay: f64,
    decay: Decay,
}

impl Adam {
    pub(super) fn new(setting: &OptimizerSetting, decay: Decay) -> Self {
        Self {
            beta1: setting.number("beta1"),
            beta2: setting.number("beta2"),
            eps: setting.number("eps") as f32,
            weight_decay: setting.number("weight_decay"),
            decay,
        }
    }
}

impl Rule for Adam {
    fn buffers(&self) -> Vec<(&'static str, f32)> {
        vec![("exp_avg", 0.0), ("exp_avg_sq", 0.0)]
    }

    fn update(
        &self,
        step: &Step,
        parameters: &mut [f32],
        gradients: &[f32],
        state: &mut [Vec<f32>],
    ) -> Result<()> {
        let [first, second] = state else {
            return wrong_state("adam");
        };
        let (beta1, beta2) = (step.momentum.unwrap_or(self.beta1), self.beta2);
        let count = step.count as f64;
        let rate = (step.lr / (1.0 - beta1.powf(count))) as f32;
        let correction = (1.0 - beta2.powf(count)).sqrt() as f32;
        let (coupled, keep) = match self.decay {
            Decay::Coupled => (self.weight_decay as f32, 1.0),
            Decay::Decoupled => (0.0, (1.0 - step.lr * self.weight_decay) as f32),
        };
        let (weight1, weight2) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32);
        let (beta2, eps, scale) = (beta2 as f32, self.eps, step.gradient_scale);
        for (((p, &g), m), v) in parameters.iter_mut().zip(gradients).zip(first).zip(second) {
            let g = g * scale + coupled * *p;
            *m = lerp(*m, g, weight1);
            *v = beta2 * *v + weight2 * (g * g);
            *p = *p * keep - rate * (*m / (v.sqrt() / correction + eps));
        }
        Ok(())
    }

    fn signals(
        &self,
        step: &Step,
        parameters: &[f32],
        gradients: &[f32],
        state: &[Vec<f32>],
    ) -> Option<Sums> {
        let [first, second] = state else {
            return None;
        };
        let count = step.count as f64;
        let (beta1, beta2) = (step.momentum.unwrap_or(self.beta1), self.beta2);
        let debias1 = (1.0 / (1.0 - beta1.powf(count))) as f32;
        let debias2 = (1.0 / (1.0 - beta2.powf(count))) as f32;
        let coupled = match self.decay {
            Decay::Coupled => self.weight_decay as f32,
            Decay::Decoupled => 0.0,
        };
        let (weight1, weight2) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32);
        let (beta2, eps, scale) = (beta2 as f32, self.eps, step.gradient_scale);
        let mut sums = Sums {
            count: parameters.len(),
            ..Sums::default()
        };
        for (((&p, &g), &m), &v) in parameters.iter().zip(gradients).zip(first).zip(second) {
            let g = g * scale + coupled * p;
            let m = lerp(m, g, weight1) * debias1;
            let root = ((beta2 * v + weight2 * (g * g)) * debias2).sqrt();
            sums.updates += f64::from(m / (root + eps)).powi(2);
            // Not `max`, which would make ε of NaN.
            let floored = if root < eps { eps } else { root };
            sums.ratios += f64::from(g / floored).powi(2);
        }
        Some(sums)
    }
}
