//! RMSProp (Tieleman and Hinton 2012, Coursera lecture 6.5), plain, centered (Graves 2013, arXiv
//! 1308.0850) and with momentum, as `torch.optim.RMSprop` 2.15 computes it:
//! v ← ρ·v + (1−ρ)·g²; centered: a ← ρ·a + (1−ρ)·g; d = √v + ε, or centered √(v − a²) + ε.
//! Then p ← p − η·g/d, or with momentum b ← μ·b + g/d, p ← p − η·b. ρ is torch's `alpha`.
//! L2 weight decay λ adds λ·p to g.
//!
//! As in torch, v − a² is not kept above zero: where gradients hardly vary, rounding can turn it
//! negative and the parameter into NaN.

use candle_core::Result;
use hpo_recipe::optimizer::OptimizerSetting;

use super::fused::{Rule, Step, lerp, wrong_state};

pub(super) struct RmsProp {
    rho: f64,
    eps: f32,
    weight_decay: f32,
    momentum: f64,
    centered: bool,
}

impl RmsProp {
    pub(super) fn new(setting: &OptimizerSetting) -> Self {
        Self {
            rho: setting.number("rho"),
            eps: setting.number("eps") as f32,
            weight_decay: setting.number("weight_decay") as f32,
            momentum: setting.number("momentum"),
            centered: setting.flag("centered"),
        }
    }

    /// Whether the setting has momentum at all; a schedule cannot switch it on later.
    fn has_momentum(&self) -> bool {
        self.momentum > 0.0
    }
}

impl Rule for RmsProp {
    fn buffers(&self) -> Vec<(&'static str, f32)> {
        let mut buffers = vec![("square_avg", 0.0)];
        if self.centered {
            buffers.push(("grad_avg", 0.0));
        }
        if self.has_momentum() {
            buffers.push(("momentum_buffer", 0.0));
        }
        buffers
    }

    fn update(
        &self,
        step: &Step,
        parameters: &mut [f32],
        gradients: &[f32],
        state: &mut [Vec<f32>],
    ) -> Result<()> {
        let momentum = step.momentum.unwrap_or(self.momentum) as f32;
        let (lr, eps) = (step.lr as f32, self.eps);
        let gradient = |p: f32, g: f32| g * step.gradient_scale + self.weight_decay * p;
        let (rho, weight) = (self.rho as f32, (1.0 - self.rho) as f32);
        let square = move |v: f32, g: f32| rho * v + weight * (g * g);
        let pairs = parameters.iter_mut().zip(gradients);
        match (state, self.centered, self.has_momentum()) {
            ([squares], false, false) => {
                for ((p, &g), v) in pairs.zip(squares) {
                    let g = gradient(*p, g);
                    *v = square(*v, g);
                    *p -= lr * (g / (v.sqrt() + eps));
                }
            }
            ([squares, buffer], false, true) => {
                for (((p, &g), v), b) in pairs.zip(squares).zip(buffer) {
                    let g = gradient(*p, g);
                    *v = square(*v, g);
                    *b = momentum * *b + g / (v.sqrt() + eps);
                    *p -= lr * *b;
                }
            }
            ([squares, averages], true, false) => {
                for (((p, &g), v), a) in pairs.zip(squares).zip(averages) {
                    let g = gradient(*p, g);
                    *v = square(*v, g);
                    *a = lerp(*a, g, weight);
                    *p -= lr * (g / ((*v - *a * *a).sqrt() + eps));
                }
            }
            ([squares, averages, buffer], true, true) => {
                for ((((p, &g), v), a), b) in pairs.zip(squares).zip(averages).zip(buffer) {
                    let g = gradient(*p, g);
                    *v = square(*v, g);
                    *a = lerp(*a, g, weight);
                    *b = momentum * *b + g / ((*v - *a * *a).sqrt() + eps);
                    *p -= lr * *b;
                }
            }
            _ => return wrong_state("rmsprop"),
        }
        Ok(())
    }
}
