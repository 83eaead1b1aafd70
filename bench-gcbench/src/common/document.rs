//! The XML document, and the checksum of a tree made of it.

use std::fmt::Write;

use super::Random;

/// The text of the C program's document.
pub struct Document {
    /// XML.
    pub text: String,
}

impl Document {
    /// A catalogue of this many records, each about 230 bytes.
    pub fn generate(records: u64) -> Self {
        let mut text = String::with_capacity(records as usize * 320 + 100);
        let mut random = Random::default();
        text.push_str("<?xml version=\"1.0\"?>\n<catalogue>\n");
        for k in 0..records {
            let r = (random.draw() >> 32) as u32;
            let kind = if r & 1 != 0 { "screw" } else { "washer" };
            let stock = if r & 2 != 0 {
                "in stock"
            } else {
                "on order from the works"
            };
            let _ = write!(
                text,
                "  <item id=\"i{k}\" kind=\"{kind}\" rank=\"{}\">\n    \
                 <name>part number {r} of the {}th series</name>\n    \
                 <price currency=\"EUR\">{}.{:02}</price>\n    \
                 <note>cut &amp; dried; <b>{stock}</b> since {}</note>\n  </item>\n",
                r % 1000,
                k / 7,
                r % 997,
                r % 100,
                1900 + r % 120,
            );
        }
        text.push_str("</catalogue>\n");
        Document { text }
    }
}
