//! The mounts and what they stand on, drawn for whoever reads a plan. Pure.
use super::{LiveMount, Storage};
use crate::facts::storage::StorageFacts;

impl Storage {
    /// A line for each mount, device and the image.
    pub(super) fn draw(&self, sources: &StorageFacts) -> Vec<String> {
        let mut lines = Vec::new();
        for mount in &self.mounts {
            let LiveMount { entry, spec, .. } = mount;
            let kind = match (entry.fs_vfstype.as_str(), mount.is_required) {
                ("swap", _) => "swap",
                (_, true) => "required",
                (_, false) => "nofail",
            };
            lines.push(format!("{}  {spec}  {}  {kind}", entry.fs_file, entry.fs_vfstype));
            if let Some(device) = mount.device {
                draw_below(sources, device, 1, &mut lines);
            }
        }
        if let Some(image) = &self.image_reference {
            let words = self
                .image
                .arguments()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ");
            lines.push(format!("the image  {image}  {words}").trim_end().to_owned());
        }
        lines
    }
}

fn draw_below(sources: &StorageFacts, index: usize, depth: usize, lines: &mut Vec<String>) {
    let device = sources.devices.get(index);
    let line = format!(
        "{}{}  {}  {}",
        "  ".repeat(depth),
        device.path,
        device.kind,
        device.fstype
    );
    lines.push(line.trim_end().to_owned());
    for &parent in &device.parents {
        draw_below(sources, parent, depth + 1, lines);
    }
}
