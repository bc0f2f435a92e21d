//! The depthwise convolution: every channel has a kernel of its own (Howard et al. 2017, section 3.1).

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::math::vectorised;
use super::{fusible, slice, with_slices};

/// Where a kernel is laid on a square map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Rows and columns from one position to the next.
    pub stride: usize,
    /// Zeros before and after the map.
    pub padding: (usize, usize),
    /// Rows and columns of the map that is read.
    pub size: usize,
}

impl Window {
    /// Rows and columns of the map that is made.
    fn output(self) -> usize {
        let (before, after) = self.padding;
        (before + self.size + after - self.kernel) / self.stride + 1
    }
}

/// `map` `[pictures, rows, columns, channels]` with `kernels` `[kernel * kernel, channels]`, without a bias.
///
/// # Errors
/// When shapes do not fit.
pub fn depthwise(map: &Tensor, kernels: &Tensor, window: Window) -> Result<Tensor> {
    let (_, rows, columns, channels) = map.dims4()?;
    if [rows, columns] != [window.size; 2] || kernels.dims() != [window.kernel * window.kernel, channels] {
        candle_core::bail!("a map {:?} and kernels {:?} for {window:?}", map.dims(), kernels.dims());
    }
    if fusible(&[map, kernels]) {
        return map.contiguous()?.apply_op2(&kernels.contiguous()?, Depthwise(window));
    }
    plain(map, kernels, window)
}

/// One shifted product for each of the kernel's elements.
fn plain(map: &Tensor, kernels: &Tensor, window: Window) -> Result<Tensor> {
    let (pictures, _, _, channels) = map.dims4()?;
    let (stride, size, (before, after)) = (window.stride, window.output(), window.padding);
    // The last shift is cut in whole strides too.
    let after = after + stride - 1;
    let padded = map.pad_with_zeros(1, before, after)?.pad_with_zeros(2, before, after)?;
    let shifted = |row, column| {
        let part = padded.narrow(1, row, size * stride)?.narrow(2, column, size * stride)?;
        if stride == 1 {
            return Ok(part);
        }
        let strides = part.contiguous()?.reshape(&[pictures, size, stride, size, stride, channels])?;
        strides.narrow(2, 0, 1)?.narrow(4, 0, 1)?.contiguous()?.reshape((pictures, size, size, channels))
    };
    let product = |element: usize| {
        let kernel = kernels.narrow(0, element, 1)?.reshape((1, 1, 1, channels))?;
        shifted(element / window.kernel, element % window.kernel)?.broadcast_mul(&kernel)
    };
    (1..window.kernel * window.kernel).try_fold(product(0)?, |sum, element| sum + product(element)?)
}

struct Depthwise(Window);

impl Depthwise {
    /// Calls `f(element, read, made)` for every element of the kernel with the starts of the channels at which a row of
    /// `pictures` maps is read, and those at which one is made.
    #[inline(always)]
    fn each(&self, pictures: usize, channels: usize, mut f: impl FnMut(usize, usize, usize)) {
        let Window { kernel, stride, size, padding: (before, _) } = self.0;
        let output = self.0.output();
        for picture in 0..pictures {
            for row in 0..output {
                for kernel_row in 0..kernel {
                    let Some(y) = (row * stride + kernel_row).checked_sub(before).filter(|&y| y < size)
                    else {
                        continue;
                    };
                    for column in 0..output {
                        let made = ((picture * output + row) * output + column) * channels;
                        for kernel_column in 0..kernel {
                            let x = (column * stride + kernel_column).checked_sub(before);
                            if let Some(x) = x.filter(|&x| x < size) {
                                let read = ((picture * size + y) * size + x) * channels;
                                f((kernel_row * kernel + kernel_column) * channels, read, made);
                            }
                        }
                    }
                }
            }
        }
    }
}

impl CustomOp2 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise"
    }

    fn cpu_fwd(
        &self,
        map: &CpuStorage,
        map_layout: &Layout,
        kernels: &CpuStorage,
        kernels_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (pictures, _, _, channels) = map_layout.shape().dims4()?;
        let (map, kernels) = (slice(map, map_layout)?, slice(kernels, kernels_layout)?);
        let size = self.0.output();
        let mut out = vec![0.0; pictures * size * size * channels];
        vectorised(|| {
            self.each(pictures, channels, |element, read, made| {
                let out = out[made..][..channels].iter_mut();
                for ((out, x), w) in out.zip(&map[read..][..channels]).zip(&kernels[element..][..channels]) {
                    *out += x * w;
                }
            });
        });
        Ok((CpuStorage::F32(out), (pictures, size, size, channels).into()))
    }

    fn bwd(
        &self,
        map: &Tensor,
        kernels: &Tensor,
        _out: &Tensor,
        d_out: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (pictures, _, _, channels) = map.dims4()?;
        let d_out = d_out.contiguous()?;
        let mut d_map = vec![0.0; map.elem_count()];
        let mut d_kernels = vec![0.0; kernels.elem_count()];
        with_slices([map, kernels, &d_out], |[map, kernels, d_out]| {
            vectorised(|| {
                self.each(pictures, channels, |element, read, made| {
                    let d_out = &d_out[made..][..channels];
                    let d_kernels = d_kernels[element..][..channels].iter_mut();
                    for ((d_kernel, d), x) in d_kernels.zip(d_out).zip(&map[read..][..channels]) {
                        *d_kernel += d * x;
                    }
                    let d_map = d_map[read..][..channels].iter_mut();
                    for ((d_x, d), w) in d_map.zip(d_out).zip(&kernels[element..][..channels]) {
                        *d_x += d * w;
                    }
                });
            });
        })?;
        Ok((
            Some(Tensor::from_vec(d_map, map.shape(), map.device())?),
            Some(Tensor::from_vec(d_kernels, kernels.shape(), kernels.device())?),
        ))
    }
}
