//! The gated recurrent unit's elementwise part (Cho et al. 2014, with the reset gate after the product, as in cuDNN):
//!
//! r = σ(x_r + y_r), u = σ(x_u + y_u), n = tanh(x_n + r y_n), h' = n + u (h - n)
//!
//! x = W_x [e; c] + b_x and y = W_h h + b_h are `[rows, 3 state]`, in the order r, u, n.

use candle_core::{D, Result, Tensor};

use super::math::{sigmoid, tanh};

/// One step, as plain candle operations.
pub(super) fn plain(x: &Tensor, y: &Tensor, h: &Tensor) -> Result<Tensor> {
    let size = h.dim(D::Minus1)?;
    let part = |t: &Tensor, i: usize| t.narrow(D::Minus1, i * size, size);
    let r = logistic(&(part(x, 0)? + part(y, 0)?)?)?;
    let u = logistic(&(part(x, 1)? + part(y, 1)?)?)?;
    let n = (part(x, 2)? + (r * part(y, 2)?)?)?.tanh()?;
    &n + (u * (h - &n)?)?
}

fn logistic(x: &Tensor) -> Result<Tensor> {
    ((x * 0.5)?.tanh()? * 0.5)? + 0.5
}

/// One row: `x`, `y` `[3 state]`, `h`, `next` `[state]`.
#[inline(always)]
pub(super) fn forward(x: &[f32], y: &[f32], h: &[f32], next: &mut [f32]) {
    let size = h.len();
    let ([x_r, x_u, x_n], [y_r, y_u, y_n]) = (thirds(x, size), thirds(y, size));
    for i in 0..size {
        let r = sigmoid(x_r[i] + y_r[i]);
        let u = sigmoid(x_u[i] + y_u[i]);
        let n = tanh(x_n[i] + r * y_n[i]);
        next[i] = n + u * (h[i] - n);
    }
}

/// One row's gradients: writes `d_x`, `d_y` `[3 state]`, and replaces dh' in `d_h` by the part of dh that does not go
/// through y.
#[inline(always)]
pub(super) fn backward(x: &[f32], y: &[f32], h: &[f32], d_x: &mut [f32], d_y: &mut [f32], d_h: &mut [f32]) {
    let size = h.len();
    let ([x_r, x_u, x_n], [y_r, y_u, y_n]) = (thirds(x, size), thirds(y, size));
    let ([dx_r, dx_u, dx_n], [dy_r, dy_u, dy_n]) = (thirds_mut(d_x, size), thirds_mut(d_y, size));
    let d_h = &mut d_h[..size];
    for i in 0..size {
        let r = sigmoid(x_r[i] + y_r[i]);
        let u = sigmoid(x_u[i] + y_u[i]);
        let n = tanh(x_n[i] + r * y_n[i]);
        let d_n = d_h[i] * (1.0 - u) * (1.0 - n * n);
        let d_r = d_n * y_n[i] * r * (1.0 - r);
        let d_u = d_h[i] * (h[i] - n) * u * (1.0 - u);
        dx_r[i] = d_r;
        dx_u[i] = d_u;
        dx_n[i] = d_n;
        dy_r[i] = d_r;
        dy_u[i] = d_u;
        dy_n[i] = d_n * r;
        d_h[i] *= u;
    }
}

#[inline(always)]
fn thirds(row: &[f32], size: usize) -> [&[f32]; 3] {
    [&row[..size], &row[size..2 * size], &row[2 * size..3 * size]]
}

#[inline(always)]
fn thirds_mut(row: &mut [f32], size: usize) -> [&mut [f32]; 3] {
    let (first, rest) = row.split_at_mut(size);
    let (second, third) = rest.split_at_mut(size);
    [first, second, &mut third[..size]]
}
