//! USB cameras through Video4Linux.
//!
//! The driver fills a few buffers that it shares with this program, in turn. The last one that was read is this program's
//! until it reads the next one: the driver has the others meanwhile, and frames that it has no buffer for are counted as
//! lost. What was read is copied, because whoever looks at it may take longer than the camera waits.

mod by_id;
mod choice;
mod sequence;
mod tables;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use metalens_firmware_config::Camera;
use rustix::event::PollFlags;
use rustix::io::Errno;
use v4l::buffer::{Flags, Metadata, Type};
use v4l::format::FieldOrder;
use v4l::io::mmap::Stream;
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{Device, FourCC, Fraction};

use self::sequence::Sequence;
use super::{CameraError, Format, Frame, FrameSource, Next};

/// Buffers that the driver is asked for: one is read, one is filled, and two are there for a reader that is late.
const BUFFERS: u32 = 4;

/// A camera with a driver of Video4Linux.
pub struct V4l2Source {
    device: PathBuf,
    camera: Camera,
    /// Its link under `/dev/v4l/by-id`, from the first time on that it was open.
    link: Option<PathBuf>,
    /// Whether it was open before: then what is wrong now may pass.
    known: bool,
    streaming: Option<Streaming>,
    lost: u64,
}

/// A camera that gives frames.
struct Streaming {
    stream: Stream<'static>,
    format: Format,
    sequence: Sequence,
    /// Whether the buffer that was read last is this program's. [`Stream::next`] hands it back first, and fails without one.
    holds: bool,
}

impl V4l2Source {
    /// The camera is not opened yet.
    #[must_use]
    pub fn new(device: &Path, camera: &Camera) -> Self {
        Self {
            device: device.to_owned(),
            camera: camera.clone(),
            link: None,
            known: false,
            streaming: None,
            lost: 0,
        }
    }

    fn name(&self) -> String {
        format!("v4l2:{}", self.device.display())
    }

    fn closed(&self, reason: String) -> CameraError {
        CameraError::Closed { source_name: self.name(), reason }
    }

    fn gone(&self, reason: String) -> CameraError {
        CameraError::Gone { source_name: self.name(), reason }
    }

    /// A camera that does not give what was asked for; one that did so before is waited for.
    fn refused(&self, reason: String) -> CameraError {
        if self.known {
            self.closed(reason)
        } else {
            CameraError::Impossible { source_name: self.name(), reason }
        }
    }

    /// Opens the device: by its link where that leads somewhere, since another camera may have taken its number.
    fn reach(&self) -> io::Result<(&Path, Device)> {
        if let Some(link) = &self.link
            && let Ok(device) = Device::with_path(link)
        {
            return Ok((link, device));
        }
        Ok((&self.device, Device::with_path(&self.device)?))
    }

    /// Agrees with the driver on what frames are.
    fn agree(&self, device: &Device) -> Result<Format, CameraError> {
        let failed = |error: io::Error| self.closed(format!("cannot be set up: {error}{}", advice(&error)));
        let wanted = self.camera.format;
        let offered = device.enum_formats().map_err(failed)?;
        let offered: Vec<choice::Code> = offered.iter().map(|format| format.fourcc.repr).collect();
        if offered.is_empty() {
            // So does the second device that some cameras have, and a loop that nobody writes to yet.
            return Err(self.closed("it gives no pictures; name a camera's first device".to_owned()));
        }
        let code = choice::choose(&offered, wanted).map_err(|reason| self.refused(reason))?;
        let Camera { width, height, rate, .. } = self.camera;
        let mut asked = v4l::Format::new(width, height, FourCC::new(&code));
        asked.field_order = FieldOrder::Progressive;
        let set = device.set_format(&asked).map_err(failed)?;
        let format = choice::read(set.fourcc.repr, [set.width, set.height], set.stride, wanted)
            .map_err(|reason| self.refused(reason))?;

        let [numerator, denominator] = choice::interval(rate);
        let interval = match device.set_params(&Parameters::new(Fraction::new(numerator, denominator))) {
            Ok(set) => set.interval.to_string(),
            // Not every driver lets its rate be set.
            Err(error) => format!("unknown ({error})"),
        };
        let v4l::Format { fourcc, width, height, .. } = set;
        tracing::info!("{}: {fourcc}, {width}x{height} pixels, seconds a frame: {interval}", self.name());
        Ok(format)
    }

    /// Lets go of the camera.
    fn close(&mut self) {
        if let Some(Streaming { stream, .. }) = self.streaming.take() {
            end(stream);
        }
    }
}

impl Drop for V4l2Source {
    fn drop(&mut self) {
        self.close();
    }
}

impl Streaming {
    fn start(device: &Device, format: Format) -> io::Result<Self> {
        let mut stream = Stream::with_buffers(device, Type::VideoCapture, BUFFERS)?;
        // Without, it would wait for ever; waiting is done before it is asked.
        stream.set_timeout(Duration::ZERO);
        // Hands all buffers to the driver and starts it.
        let holds = match stream.next() {
            Ok(_) => true,
            Err(error) if passes(&error) => false,
            Err(error) => {
                end(stream);
                return Err(error);
            }
        };
        Ok(Self { stream, format, sequence: Sequence::default(), holds })
    }

    /// The next buffer's bytes in `data`, and what the driver says of it; none when that takes longer than `wait`, and when
    /// it is time to ask again.
    fn read(&mut self, data: &mut Vec<u8>, wait: Duration) -> io::Result<Option<Metadata>> {
        let wait_ms = i32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        if self.stream.handle().poll(PollFlags::IN.bits() as i16, wait_ms)? == 0 {
            return Ok(None);
        }
        if !self.holds {
            // The first frame, often a dark one, is given up for a buffer to hold.
            self.stream.dequeue()?;
            self.holds = true;
            return Ok(None);
        }
        self.holds = false;
        let (bytes, &meta) = self.stream.next()?;
        self.holds = true;
        let used = bytes.get(..meta.bytesused as usize).unwrap_or(bytes);
        if let Format::Yuyv { height, stride, .. } = self.format {
            // A driver may round the size of its buffers up.
            let rows = used.get(..(height * stride) as usize).unwrap_or(used);
            data.clear();
            data.extend_from_slice(rows);
        } else {
            tables::complete(used, data);
        }
        Ok(Some(meta))
    }
}

impl FrameSource for V4l2Source {
    fn open(&mut self) -> Result<(), CameraError> {
        self.close();
        let closed = |error: io::Error| self.closed(format!("cannot be opened: {error}{}", advice(&error)));
        let (path, device) = self.reach().map_err(closed)?;
        let link = by_id::link_to(path, by_id::FOLDER.as_ref());
        let format = self.agree(&device)?;
        let streaming = Streaming::start(&device, format).map_err(closed)?;
        self.streaming = Some(streaming);
        self.known = true;
        self.link = self.link.take().or(link);
        Ok(())
    }

    fn next(&mut self, frame: &mut Frame, wait: Duration) -> Result<Next, CameraError> {
        let deadline = Instant::now() + wait;
        loop {
            let Some(streaming) = &mut self.streaming else {
                return Err(self.gone("it was not opened".to_owned()));
            };
            let left = deadline.saturating_duration_since(Instant::now());
            match streaming.read(&mut frame.data, left) {
                Ok(Some(meta)) => {
                    self.lost += streaming.sequence.missed(meta.sequence);
                    if !meta.flags.contains(Flags::ERROR) && meta.bytesused > 0 {
                        frame.format = streaming.format;
                        frame.file.clear();
                        frame.stamp();
                        return Ok(Next::Frame);
                    }
                    self.lost += 1;
                }
                Ok(None) => {}
                Err(error) if passes(&error) => {}
                Err(error) => {
                    self.close();
                    return Err(self.gone(error.to_string()));
                }
            }
            if left.is_zero() {
                return Ok(Next::NotYet);
            }
        }
    }

    fn lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    fn patience(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.camera.timeout_ms))
    }
}

/// Stops a stream. Where that fails, other than because the camera is gone, its drop would panic and end the daemon.
fn end(mut stream: Stream<'static>) {
    match stream.stop() {
        Err(error) if error.raw_os_error() != Some(Errno::NODEV.raw_os_error()) => {
            tracing::warn!("a camera cannot be stopped, and stays open: {error}");
            std::mem::forget(stream);
        }
        _ => drop(stream),
    }
}

/// Whether there is only nothing to read yet.
fn passes(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// What to do about it.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; plug the camera in, or name another device",
        io::ErrorKind::PermissionDenied => "; make the daemon's user a member of the group \"video\"",
        io::ErrorKind::ResourceBusy => "; end the other program that uses it",
        // What the kernel says where the bus has no room for another camera.
        io::ErrorKind::StorageFull => "; ask for fewer pixels or frames, or plug it into another bus",
        _ => "",
    }
}
