//! What stands between two layers with weights: activation, gathering and pooling of pixels, dropout.
//!
//! candle's own `Conv2d` and `max_pool2d` are not used. A CNN on the digits (16 and 32 channels,
//! batches of 64, one thread; `examples/train_speed.rs`) takes 9.4 ms per update with `Conv2d`,
//! whose backward pass is slow on the CPU, and 3.1 ms with a convolution made of candle's
//! `index_select` and `Linear`. And candle 0.11 hands only a quarter of the gradient back through
//! `max_pool2d`: on [[1, 2], [3, 4]] the 4 gets 0.25 where PyTorch gives it 1.

use candle_core::{Device, Result, Tensor};
use hpo_study::spec::Activation;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

/// Applies the function to every value. ReLU has slope 0 at 0, and GELU is the exact form with the
/// error function (Hendrycks and Gimpel 2016, arXiv 1606.08415), both as in PyTorch.
///
/// # Errors
/// Only if candle cannot compute it.
pub fn activate(x: &Tensor, function: Activation) -> Result<Tensor> {
    match function {
        // Not `relu`, which makes 0 of NaN and would hide a divergence, nor `maximum`, which keeps
        // NaN but takes twice as long for a whole CNN run.
        Activation::Relu => x.le(0.0)?.where_cond(&x.zeros_like()?, x),
        Activation::Tanh => x.tanh(),
        Activation::Gelu => x.gelu_erf(),
    }
}

/// An image's pixels, by the places a convolutional layer looks at. Images have their channels
/// last: `[images, height · width, channels]`.
///
/// A 3 × 3 convolution (padding 1) is [`Grid::neighbourhoods`] followed by a fully connected layer.
pub struct Grid {
    pixels: usize,
    /// For each pixel the nine around it; an index of `pixels` is outside the image.
    around: Tensor,
    /// For each 2 × 2 block its four pixels.
    blocks: Tensor,
}

impl Grid {
    /// The grid of an image of `height` × `width` pixels.
    ///
    /// # Errors
    /// Only if a tensor cannot be made.
    pub fn new(height: usize, width: usize, device: &Device) -> Result<Self> {
        let pixels = height * width;
        let index = |y: usize, x: usize| match y < height && x < width {
            true => (y * width + x) as u32,
            false => pixels as u32,
        };
        // Above or left of the image wraps around to a place far outside.
        let near = |at: usize, step: usize| (at + step).wrapping_sub(1);
        let around = (0..pixels).flat_map(|pixel| {
            let (y, x) = (pixel / width, pixel % width);
            (0..9).map(move |place| index(near(y, place / 3), near(x, place % 3)))
        });
        let block = |y, x| [(y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1)];
        let blocks = (0..height / 2)
            .flat_map(|y| (0..width / 2).flat_map(move |x| block(2 * y, 2 * x)))
            .map(|(y, x)| index(y, x));
        let list = |pixels: Vec<u32>| Tensor::from_iter(pixels, device);
        Ok(Self {
            pixels,
            around: list(around.collect())?,
            blocks: list(blocks.collect())?,
        })
    }

    /// How many pixels there are.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.pixels
    }

    /// The 3 × 3 neighbourhood of every pixel, zeros outside the image:
    /// `[images, pixels, channels]` → `[images · pixels, 9 · channels]`.
    ///
    /// # Errors
    /// A tensor of another shape.
    pub fn neighbourhoods(&self, images: &Tensor) -> Result<Tensor> {
        let (count, pixels, channels) = images.dims3()?;
        images
            .pad_with_zeros(1, 0, 1)?
            .index_select(&self.around, 1)?
            .reshape((count * pixels, 9 * channels))
    }

    /// The largest value of each 2 × 2 block of pixels, channel by channel; an odd last row or
    /// column is left out: `[images, pixels, channels]` → `[images, blocks, channels]`. The
    /// gradient goes to the first of the largest, as in PyTorch.
    ///
    /// # Errors
    /// A tensor of another shape.
    pub fn max_pool(&self, images: &Tensor) -> Result<Tensor> {
        let (count, _, channels) = images.dims3()?;
        let blocks = images.index_select(&self.blocks, 1)?;
        let blocks = blocks.reshape((count, self.blocks.elem_count() / 4, 4, channels))?;
        blocks.gather(&blocks.argmax_keepdim(2)?, 2)?.squeeze(2)
    }
}

/// Sets each value to 0 with probability `rate`, in [0, 1), and scales the others by 1/(1 − rate):
/// inverted dropout (Srivastava et al. 2014), as `torch.nn.functional.dropout` does it.
///
/// # Errors
/// Only if candle cannot compute it.
pub fn dropout(x: &Tensor, rate: f64, rng: &mut ChaCha8Rng) -> Result<Tensor> {
    let keep = (1.0 / (1.0 - rate)) as f32;
    let factor = |_| match f64::from(rng.random::<f32>()) < rate {
        true => 0.0,
        false => keep,
    };
    let mask: Vec<f32> = (0..x.elem_count()).map(factor).collect();
    x * Tensor::from_vec(mask, x.shape(), x.device())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};
    use candle_core::{DType, Device, Var};

    fn at(function: Activation, x: f32) -> f32 {
        let x = Tensor::from_slice(&[x], 1, &Device::Cpu).unwrap();
        activate(&x, function).unwrap().to_vec1::<f32>().unwrap()[0]
    }

    fn list(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn activations_have_the_textbooks_values() {
        assert_eq!(at(Activation::Relu, -2.0), 0.0);
        assert_eq!(at(Activation::Relu, 2.0), 2.0);
        assert!((at(Activation::Tanh, 0.5) - 0.462_117_16).abs() < 1e-6);
        // torch.nn.functional.gelu(torch.tensor(1.0)) of PyTorch: 0.8413447
        assert!((at(Activation::Gelu, 1.0) - 0.841_344_7).abs() < 1e-6);
    }

    #[test]
    fn relu_has_slope_one_above_zero_only() {
        let x = Var::new(&[-1.0_f32, 0.0, 2.0], &Device::Cpu).unwrap();
        let gradients = activate(&x, Activation::Relu).unwrap().backward().unwrap();
        assert_eq!(list(gradients.get(&x).unwrap()), [0.0, 0.0, 1.0]);
    }

    #[test]
    fn a_broken_value_stays_broken() {
        for function in [Activation::Relu, Activation::Tanh, Activation::Gelu] {
            assert!(at(function, f32::NAN).is_nan(), "{function:?}");
        }
    }

    /// `[images, pixels, channels]` as `[images, channels, height, width]`.
    fn channels_first(images: &Tensor, height: usize, width: usize) -> Tensor {
        let (count, _, channels) = images.dims3().unwrap();
        let images = images.reshape((count, height, width, channels)).unwrap();
        images.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap()
    }

    fn fixed(shape: &[usize]) -> Tensor {
        let count = shape.iter().product::<usize>();
        let values = (0..count).map(|i| (i as f32 * 12.9898).sin()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn close(found: &Tensor, expected: &Tensor) -> bool {
        let pairs = list(found).into_iter().zip(list(expected));
        found.dims() == expected.dims() && pairs.into_iter().all(|(x, y)| (x - y).abs() < 1e-5)
    }

    /// A 3 × 3 kernel, padding 1: values and both gradients.
    #[test]
    fn gathering_and_a_dense_layer_are_candles_convolution() {
        let images = Var::from_tensor(&fixed(&[2, 20, 3])).unwrap();
        let kernel = Var::from_tensor(&fixed(&[6, 3, 3, 3])).unwrap();
        let weights = fixed(&[2, 6, 4, 5]);
        let reference = channels_first(&images, 4, 5);
        let reference = reference.conv2d(&kernel, 1, 1, 1, 1).unwrap();
        let flat = kernel.permute((0, 2, 3, 1)).unwrap();
        let flat = flat.reshape((6, 27)).unwrap();
        let grid = Grid::new(4, 5, &Device::Cpu).unwrap();
        let gathered = grid.neighbourhoods(&images).unwrap();
        let outputs = gathered.matmul(&flat.t().unwrap()).unwrap();
        let outputs = channels_first(&outputs.reshape((2, 20, 6)).unwrap(), 4, 5);
        assert!(close(&outputs, &reference));
        let gradients = |outputs: &Tensor| (outputs * &weights).unwrap().backward().unwrap();
        let (found, expected) = (gradients(&outputs), gradients(&reference));
        for variable in [&images, &kernel] {
            let of =
                |store: &candle_core::backprop::GradStore| store.get(variable).unwrap().clone();
            assert!(close(&of(&found), &of(&expected)));
        }
    }

    #[test]
    fn pooling_takes_the_largest_of_each_image_and_channel() {
        let images = fixed(&[2, 20, 3]);
        let grid = Grid::new(4, 5, &Device::Cpu).unwrap();
        let pooled = grid.max_pool(&images).unwrap();
        let expected = channels_first(&images, 4, 5).max_pool2d(2).unwrap();
        assert!(close(&channels_first(&pooled, 2, 2), &expected));
    }

    #[test]
    fn the_first_of_the_largest_gets_the_whole_gradient() {
        // Blocks: a largest value last, a tie, and the odd column left out.
        let rows: [f32; 10] = [1.0, 2.0, 5.0, 5.0, 9.0, 3.0, 4.0, 5.0, 5.0, 9.0];
        let images = Var::from_slice(&rows, (1, 10, 1), &Device::Cpu).unwrap();
        let grid = Grid::new(2, 5, &Device::Cpu).unwrap();
        let pooled = grid.max_pool(&images).unwrap();
        assert_eq!(list(&pooled), [4.0, 5.0]);
        let weights = Tensor::new(&[[[10.0_f32], [20.0]]], &Device::Cpu).unwrap();
        let gradients = (pooled * weights).unwrap().backward().unwrap();
        assert_eq!(
            list(gradients.get(&images).unwrap()),
            [0.0, 0.0, 20.0, 0.0, 0.0, 0.0, 10.0, 0.0, 0.0, 0.0]
        );
    }

    #[test]
    fn dropout_keeps_the_expected_value_and_its_seed_decides() {
        let ones = Tensor::ones(100_000, DType::F32, &Device::Cpu).unwrap();
        let dropped = |seed| {
            let mut rng = stream(seed, Purpose::Dropout, 0);
            list(&dropout(&ones, 0.25, &mut rng).unwrap())
        };
        let outputs = dropped(1);
        let zeros = outputs.iter().filter(|&&x| x == 0.0).count();
        // Four standard deviations of the binomial distribution around 25 000.
        assert!((zeros as f64 - 25_000.0).abs() < 4.0 * 137.0, "{zeros}");
        assert!(outputs.iter().all(|&x| x == 0.0 || x == 4.0_f32 / 3.0));
        assert_eq!(outputs, dropped(1));
        assert_ne!(outputs, dropped(2));
    }
}
