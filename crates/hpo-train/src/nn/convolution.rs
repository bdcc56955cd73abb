//! 3 × 3 convolution and 2 × 2 max pooling for images with the channels last:
//! `[images, height · width, channels]`.
//!
//! A convolution is the gathering of each pixel's neighbourhood ([`neighbourhoods`]) followed by a
//! dense layer. With the channels last, gathering copies whole runs of memory.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::values;

/// Height and width of an image in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl Size {
    /// How many pixels there are.
    #[must_use]
    pub fn pixels(self) -> usize {
        self.height * self.width
    }

    /// The size after [`max_pool`]; an odd last row or column is left out, as PyTorch does.
    #[must_use]
    pub fn halved(self) -> Self {
        Self {
            height: self.height / 2,
            width: self.width / 2,
        }
    }

    /// For each pixel and each of the nine places around it, the pixel found there.
    fn neighbours(self) -> impl Iterator<Item = Option<usize>> {
        let Self { height, width } = self;
        let places = move |pixel: usize| {
            (0..9).map(move |place| {
                let y = (pixel / width + place / 3)
                    .checked_sub(1)
                    .filter(|&y| y < height)?;
                let x = (pixel % width + place % 3)
                    .checked_sub(1)
                    .filter(|&x| x < width)?;
                Some(y * width + x)
            })
        };
        (0..self.pixels()).flat_map(places)
    }
}

/// The 3 × 3 neighbourhood of every pixel, zeros outside the image:
/// `[images, pixels, channels]` → `[images · pixels, 9 · channels]`.
///
/// # Errors
/// A tensor of another shape.
pub fn neighbourhoods(images: &Tensor, size: Size) -> Result<Tensor> {
    images.contiguous()?.apply_op1(Gather(size))
}

/// The largest value of each 2 × 2 block of pixels, channel by channel:
/// `[images, pixels, channels]` → `[images, pixels / 4, channels]`.
///
/// # Errors
/// A tensor of another shape.
pub fn max_pool(images: &Tensor, size: Size) -> Result<Tensor> {
    images.contiguous()?.apply_op1(MaxPool(size))
}

fn checked(layout: &Layout, size: Size) -> Result<(usize, usize)> {
    let (images, pixels, channels) = layout.shape().dims3()?;
    if pixels != size.pixels() || pixels == 0 || channels == 0 {
        bail!("{pixels} pixels of {channels} channels are no image of {size:?}");
    }
    Ok((images, channels))
}

struct Gather(Size);

impl CustomOp1 for Gather {
    fn name(&self) -> &'static str {
        "neighbourhoods"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (images, channels) = checked(layout, self.0)?;
        let neighbours: Vec<Option<usize>> = self.0.neighbours().collect();
        let zeros = vec![0.0_f32; channels];
        let mut outputs = Vec::with_capacity(images * neighbours.len() * channels);
        for image in values(storage, layout)?.chunks_exact(self.0.pixels() * channels) {
            for neighbour in &neighbours {
                let pixel =
                    neighbour.and_then(|pixel| image.get(pixel * channels..)?.get(..channels));
                outputs.extend_from_slice(pixel.unwrap_or(&zeros));
            }
        }
        let shape = Shape::from((images * self.0.pixels(), 9 * channels));
        Ok((CpuStorage::F32(outputs), shape))
    }

    fn bwd(&self, images: &Tensor, _outputs: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let scatter = Scatter {
            size: self.0,
            channels: images.dim(2)?,
        };
        gradient.contiguous()?.apply_op1_no_bwd(&scatter).map(Some)
    }
}

/// The way back: adds what each neighbourhood says about a pixel.
struct Scatter {
    size: Size,
    channels: usize,
}

impl CustomOp1 for Scatter {
    fn name(&self) -> &'static str {
        "neighbourhoods-gradient"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (pixels, channels) = (self.size.pixels(), self.channels);
        let gradient = values(storage, layout)?;
        let neighbours: Vec<Option<usize>> = self.size.neighbours().collect();
        let images = gradient.len() / (9 * pixels * channels);
        let mut outputs = vec![0.0_f32; images * pixels * channels];
        let blocks = gradient.chunks_exact(9 * pixels * channels);
        for (image, block) in outputs.chunks_exact_mut(pixels * channels).zip(blocks) {
            for (neighbour, from) in neighbours.iter().zip(block.chunks_exact(channels)) {
                let pixel = neighbour.and_then(|pixel| image.get_mut(pixel * channels..));
                for (to, x) in pixel.into_iter().flatten().zip(from) {
                    *to += x;
                }
            }
        }
        Ok((
            CpuStorage::F32(outputs),
            Shape::from((images, pixels, channels)),
        ))
    }
}

struct MaxPool(Size);

impl MaxPool {
    /// The four pixels behind each pooled pixel.
    fn blocks(&self) -> Vec<[usize; 4]> {
        let (width, pooled) = (self.0.width, self.0.halved());
        let corners = (0..pooled.height).flat_map(|y| (0..pooled.width).map(move |x| (y, x)));
        corners
            .map(|(y, x)| 2 * y * width + 2 * x)
            .map(|corner| [corner, corner + 1, corner + width, corner + width + 1])
            .collect()
    }
}

/// Whether `x` takes the place of the largest value so far: the first of equals stays, and a NaN
/// goes before any number.
fn wins(x: f32, largest: f32) -> bool {
    x > largest || (x.is_nan() && !largest.is_nan())
}

/// The channels of a pixel.
fn channels_of(image: &[f32], pixel: usize, channels: usize) -> &[f32] {
    image
        .get(pixel * channels..(pixel + 1) * channels)
        .unwrap_or(&[])
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max-pool"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (images, channels) = checked(layout, self.0)?;
        let blocks = self.blocks();
        let mut outputs = vec![f32::NEG_INFINITY; images * blocks.len() * channels];
        let mut pooled = outputs.chunks_exact_mut(channels);
        for image in values(storage, layout)?.chunks_exact(self.0.pixels() * channels) {
            for (block, largest) in blocks.iter().zip(&mut pooled) {
                for &pixel in block {
                    let candidates = channels_of(image, pixel, channels);
                    for (largest, &x) in largest.iter_mut().zip(candidates) {
                        *largest = if wins(x, *largest) { x } else { *largest };
                    }
                }
            }
        }
        Ok((
            CpuStorage::F32(outputs),
            Shape::from((images, blocks.len(), channels)),
        ))
    }

    fn bwd(&self, images: &Tensor, _outputs: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        images
            .apply_op2_no_bwd(&gradient, &MaxPoolGradient(Self(self.0)))
            .map(Some)
    }
}

/// Hands each pooled value's gradient to the pixel that won.
struct MaxPoolGradient(MaxPool);

impl CustomOp2 for MaxPoolGradient {
    fn name(&self) -> &'static str {
        "max-pool-gradient"
    }

    fn cpu_fwd(
        &self,
        images: &CpuStorage,
        images_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let size = self.0.0;
        let (_, channels) = checked(images_layout, size)?;
        let images = values(images, images_layout)?;
        let mut gradient = values(gradient, gradient_layout)?.chunks_exact(channels);
        let blocks = self.0.blocks();
        let mut outputs = vec![0.0_f32; images.len()];
        let stride = size.pixels() * channels;
        for (to, image) in outputs
            .chunks_exact_mut(stride)
            .zip(images.chunks_exact(stride))
        {
            for (block, gradient) in blocks.iter().zip(&mut gradient) {
                let [first, ..] = *block;
                let pixels = block.map(|pixel| channels_of(image, pixel, channels));
                for (channel, &g) in gradient.iter().enumerate() {
                    let mut winner = (first, f32::NEG_INFINITY);
                    for (&pixel, values) in block.iter().zip(pixels) {
                        let x = values.get(channel).copied().unwrap_or(f32::NEG_INFINITY);
                        winner = if wins(x, winner.1) {
                            (pixel, x)
                        } else {
                            winner
                        };
                    }
                    if let Some(to) = to.get_mut(winner.0 * channels + channel) {
                        *to += g;
                    }
                }
            }
        }
        Ok((CpuStorage::F32(outputs), images_layout.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::gradient_check::{check, sample};
    use candle_core::Device;

    const SIZE: Size = Size {
        height: 4,
        width: 5,
    };

    fn fixed(shape: &[usize]) -> Tensor {
        Tensor::from_vec(sample(shape.iter().product()), shape, &Device::Cpu).unwrap()
    }

    /// `[images, pixels, channels]` as `[images, channels, height, width]`.
    fn channels_first(images: &Tensor, size: Size) -> Tensor {
        let (count, _, channels) = images.dims3().unwrap();
        let shape = (count, size.height, size.width, channels);
        images
            .reshape(shape)
            .unwrap()
            .permute((0, 3, 1, 2))
            .unwrap()
            .contiguous()
            .unwrap()
    }

    fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
        (a - b)
            .unwrap()
            .abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar()
            .unwrap()
    }

    #[test]
    fn gathering_and_a_product_are_candles_convolution() {
        let images = fixed(&[2, 20, 3]);
        let kernel = fixed(&[6, 3, 3, 3]);
        let expected = channels_first(&images, SIZE)
            .conv2d(&kernel, 1, 1, 1, 1)
            .unwrap();
        // [out, in, y, x] → [out, (y, x, in)]
        let weight = kernel
            .permute((0, 2, 3, 1))
            .unwrap()
            .reshape((6, 27))
            .unwrap();
        let found = neighbourhoods(&images, SIZE).unwrap();
        let found = found
            .matmul(&weight.t().unwrap())
            .unwrap()
            .reshape((2, 20, 6))
            .unwrap();
        assert!(largest_difference(&channels_first(&found, SIZE), &expected) < 1e-5);
    }

    #[test]
    fn pooling_is_candles_and_drops_an_odd_column() {
        let images = fixed(&[2, 20, 3]);
        let expected = channels_first(&images, SIZE).max_pool2d(2).unwrap();
        let found = channels_first(&max_pool(&images, SIZE).unwrap(), SIZE.halved());
        assert_eq!(largest_difference(&found, &expected), 0.0);
    }

    #[test]
    fn gradients_match_differences() {
        let scale = fixed(&[40, 18]);
        check(&[2, 20, 2], sample(80), |x| {
            neighbourhoods(x, SIZE)?.mul(&scale)?.sum_all()
        });
        let scale = fixed(&[2, 4, 2]);
        check(&[2, 20, 2], sample(80), |x| {
            max_pool(x, SIZE)?.mul(&scale)?.sum_all()
        });
    }

    #[test]
    fn pooling_does_not_hide_a_broken_value() {
        let mut pixels = sample(20);
        pixels[6] = f32::NAN;
        let images = Tensor::from_vec(pixels, (1, 20, 1), &Device::Cpu).unwrap();
        let pooled = max_pool(&images, SIZE).unwrap().flatten_all().unwrap();
        assert!(pooled.to_vec1::<f32>().unwrap()[0].is_nan());
    }
}
