//! Any bytes as a chart archive: as they are, and as the tar file inside of one. What loads is rendered.
#![no_main]

use std::io::Write;
use std::time::Duration;

use helm::RenderOptions;
use helm::template::exec::Limits;
use helm::value::Data;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = helm::load::from_archive(bytes);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    packed.write_all(bytes).expect("memory takes it");
    let packed = packed.finish().expect("memory takes it");
    let Ok(chart) = helm::load::from_archive(&packed) else { return };
    let limits = Limits { output: 1 << 20, memory: 16 << 20, time: Duration::from_millis(500), ..Limits::default() };
    let options = RenderOptions { limits, seed: Some(1), ..RenderOptions::default() };
    let _ = chart.render_data(&Data::empty(), &options);
});
