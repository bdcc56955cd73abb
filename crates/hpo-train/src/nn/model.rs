//! The models: a multilayer perceptron and a small convolutional network.

use candle_core::{Device, Result, Tensor, Var};
use candle_nn::{Linear, Module as _};
use hpo_study::spec::Activation;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::layers::{Grid, activate, dropout};

/// Everything that decides which variables a model has and what it computes with them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Architecture {
    /// Features per row.
    pub inputs: usize,
    /// Numbers put out per row: classes, or 1.
    pub outputs: usize,
    /// The hidden layers.
    pub body: Body,
    /// After each hidden layer.
    pub activation: Activation,
    /// Share of values that dropout switches off, in [0, 1): after every hidden layer of a
    /// perceptron, before the last layer of a convolutional network.
    pub dropout: f64,
}

impl Architecture {
    /// How many numbers the model learns.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        let count = |(_, outputs, fan_in): (_, usize, usize)| {
            outputs.saturating_mul(fan_in).saturating_add(outputs)
        };
        layers_of(self)
            .into_iter()
            .map(count)
            .fold(0, usize::saturating_add)
    }
}

/// The hidden layers of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// Fully connected layers of these widths; none makes a linear model.
    Dense {
        /// Units of each layer.
        hidden: Vec<usize>,
    },
    /// 3 × 3 convolutions (padding 1) to these channels, each followed by the activation and
    /// 2 × 2 max pooling.
    Convolution {
        /// Rows of pixels of an input image.
        height: usize,
        /// Columns of pixels.
        width: usize,
        /// Channels of each convolution.
        channels: Vec<usize>,
    },
}

/// A model: its variables and the layers that share them.
pub struct Model {
    architecture: Architecture,
    variables: Vec<(String, Var)>,
    /// The image before each convolution.
    grids: Vec<Grid>,
    /// All layers with weights, the convolutions first.
    layers: Vec<Linear>,
}

impl Model {
    /// A model with fresh weights, drawn as PyTorch's layers draw theirs by default: weights
    /// Kaiming-uniform with a = √5 and biases uniform, both of which are uniform within
    /// ±1/√fan_in (`torch.nn.Linear.reset_parameters`, PyTorch 2).
    ///
    /// # Errors
    /// Only if a tensor cannot be made.
    pub fn new(architecture: Architecture, rng: &mut ChaCha8Rng) -> Result<Self> {
        let device = &Device::Cpu;
        let (mut variables, mut layers) = (Vec::new(), Vec::new());
        for (name, outputs, fan_in) in layers_of(&architecture) {
            let bound = 1.0 / (fan_in.max(1) as f32).sqrt();
            let mut draw = |count: usize| -> Vec<f32> {
                (0..count)
                    .map(|_| (2.0 * rng.random::<f32>() - 1.0) * bound)
                    .collect()
            };
            let weight = Var::from_vec(draw(outputs * fan_in), (outputs, fan_in), device)?;
            let bias = Var::from_vec(draw(outputs), outputs, device)?;
            layers.push(Linear::new(
                weight.as_tensor().clone(),
                Some(bias.as_tensor().clone()),
            ));
            variables.push((format!("{name}.weight"), weight));
            variables.push((format!("{name}.bias"), bias));
        }
        let grids = match &architecture.body {
            Body::Dense { .. } => Vec::new(),
            Body::Convolution {
                height,
                width,
                channels,
            } => (0..channels.len())
                .map(|index| Grid::new(height >> index, width >> index, device))
                .collect::<Result<_>>()?,
        };
        Ok(Self {
            architecture,
            variables,
            grids,
            layers,
        })
    }

    /// The variables with their names, in a fixed order.
    #[must_use]
    pub fn variables(&self) -> &[(String, Var)] {
        &self.variables
    }

    /// Logits or predictions `[rows, outputs]` for inputs `[rows, inputs]`. Dropout is on exactly
    /// when a generator is given.
    ///
    /// # Errors
    /// Inputs of another width.
    pub fn forward(&self, inputs: &Tensor, mut rng: Option<&mut ChaCha8Rng>) -> Result<Tensor> {
        let function = self.architecture.activation;
        let mut drop = |x: Tensor| match (&mut rng, self.architecture.dropout) {
            (Some(rng), rate) if rate > 0.0 => dropout(&x, rate, rng),
            _ => Ok(x),
        };
        let rows = inputs.dim(0)?;
        let mut x = inputs.clone();
        let (convolutions, dense) = self.layers.split_at(self.grids.len());
        for (grid, layer) in self.grids.iter().zip(convolutions) {
            x = grid.neighbourhoods(&x.reshape((rows, grid.pixels(), ()))?)?;
            x = activate(&layer.forward(&x)?, function)?;
            x = grid.max_pool(&x.reshape((rows, grid.pixels(), ()))?)?;
        }
        if !convolutions.is_empty() {
            x = drop(x.flatten_from(1)?)?;
        }
        for (index, layer) in dense.iter().enumerate() {
            if index > 0 {
                x = drop(activate(&x, function)?)?;
            }
            x = layer.forward(&x)?;
        }
        Ok(x)
    }
}

/// Name, outputs and fan-in of each layer with weights, from input to output.
fn layers_of(architecture: &Architecture) -> Vec<(String, usize, usize)> {
    let mut layers = Vec::new();
    let mut width = architecture.inputs;
    match &architecture.body {
        Body::Dense { hidden } => {
            for (index, &units) in hidden.iter().enumerate() {
                layers.push((format!("hidden.{index}"), units, width));
                width = units;
            }
        }
        Body::Convolution {
            height,
            width: columns,
            channels,
        } => {
            let mut depth = 1;
            for (index, &units) in channels.iter().enumerate() {
                layers.push((format!("convolution.{index}"), units, 9 * depth));
                depth = units;
            }
            // Every convolution is followed by a pooling that halves the image.
            width = (height >> channels.len()) * (columns >> channels.len()) * depth;
        }
    }
    layers.push(("output".to_owned(), architecture.outputs, width));
    layers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    fn perceptron(hidden: &[usize], dropout: f64) -> Architecture {
        let body = Body::Dense {
            hidden: hidden.to_vec(),
        };
        Architecture {
            inputs: 6,
            outputs: 3,
            body,
            activation: Activation::Tanh,
            dropout,
        }
    }

    fn convolutional() -> Architecture {
        let body = Body::Convolution {
            height: 8,
            width: 8,
            channels: vec![4, 5],
        };
        Architecture {
            inputs: 64,
            outputs: 10,
            body,
            activation: Activation::Relu,
            dropout: 0.0,
        }
    }

    fn built(architecture: Architecture, seed: u64) -> Model {
        Model::new(architecture, &mut stream(seed, Purpose::Weights, 0)).unwrap()
    }

    fn inputs(rows: usize, width: usize) -> Tensor {
        let values = (0..rows * width).map(|i| (i as f32 * 0.37).cos()).collect();
        Tensor::from_vec(values, (rows, width), &Device::Cpu).unwrap()
    }

    #[test]
    fn variables_have_the_names_and_shapes_of_their_layers() {
        let shapes = |model: &Model| -> Vec<String> {
            let shape = |(name, variable): &(String, Var)| format!("{name} {:?}", variable.dims());
            model.variables().iter().map(shape).collect()
        };
        assert_eq!(
            shapes(&built(perceptron(&[5], 0.0), 0)),
            [
                "hidden.0.weight [5, 6]",
                "hidden.0.bias [5]",
                "output.weight [3, 5]",
                "output.bias [3]"
            ]
        );
        assert_eq!(
            shapes(&built(convolutional(), 0))[..5],
            [
                "convolution.0.weight [4, 9]",
                "convolution.0.bias [4]",
                "convolution.1.weight [5, 36]",
                "convolution.1.bias [5]",
                "output.weight [10, 20]"
            ]
        );
        assert_eq!(
            convolutional().parameter_count(),
            36 + 4 + 180 + 5 + 200 + 10
        );
    }

    #[test]
    fn weights_fill_their_range_and_depend_on_the_seed() {
        let weights = |seed| {
            let model = built(perceptron(&[400], 0.0), seed);
            model.variables()[0]
                .1
                .flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap()
        };
        let bound = 1.0 / 6.0_f32.sqrt();
        let drawn = weights(1);
        assert!(drawn.iter().all(|w| w.abs() <= bound));
        let variance = drawn.iter().map(|w| w * w).sum::<f32>() / drawn.len() as f32;
        assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 0.1);
        assert_eq!(drawn, weights(1));
        assert_ne!(drawn, weights(2));
    }

    #[test]
    fn every_variable_gets_a_gradient() {
        for (architecture, width) in [
            (perceptron(&[], 0.0), 6),
            (perceptron(&[5, 4], 0.5), 6),
            (convolutional(), 64),
        ] {
            let model = built(architecture, 3);
            let mut rng = stream(3, Purpose::Dropout, 0);
            let outputs = model.forward(&inputs(7, width), Some(&mut rng)).unwrap();
            let gradients = outputs
                .sqr()
                .unwrap()
                .sum_all()
                .unwrap()
                .backward()
                .unwrap();
            for (name, variable) in model.variables() {
                let gradient = gradients.get(variable).unwrap();
                let norm = gradient
                    .sqr()
                    .unwrap()
                    .sum_all()
                    .unwrap()
                    .to_scalar::<f32>()
                    .unwrap();
                assert_eq!(gradient.dims(), variable.dims(), "{name}");
                assert!(norm > 0.0, "{name}");
            }
        }
    }

    #[test]
    fn dropout_is_off_without_a_generator() {
        let model = built(perceptron(&[50], 0.5), 4);
        let judged = || {
            model
                .forward(&inputs(2, 6), None)
                .unwrap()
                .to_vec2::<f32>()
                .unwrap()
        };
        let mut rng = stream(4, Purpose::Dropout, 0);
        let trained = model.forward(&inputs(2, 6), Some(&mut rng)).unwrap();
        assert_eq!(judged(), judged());
        assert_ne!(judged(), trained.to_vec2::<f32>().unwrap());
    }
}
