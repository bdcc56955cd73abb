//! Small neural networks: candle's layers and losses, put together.
//!
//! This room decides the shape of a model and draws its random numbers; the arithmetic, forward and
//! backward, is candle's and so runs on whatever device candle has. Randomness is the exception
//! because candle's generator cannot be seeded on the CPU.

pub mod layers;
pub mod loss;
pub mod model;
