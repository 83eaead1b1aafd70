//! quick-xml parses the document into a collected tree, shaped like that of libxml2.

use dunegc::Gc;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::common::{Document, Work, finish, mix, option};

type Bytes = Gc<[u8]>;

#[derive(Clone, Copy)]
struct Attribute {
    next: Option<Gc<Attribute>>,
    name: Bytes,
    _value: Bytes,
}

#[derive(Clone, Copy)]
enum Content {
    Element {
        _name: Bytes,
        attributes: Option<Gc<Attribute>>,
        children: Link,
    },
    Text(Bytes),
}

struct Node {
    next: std::cell::Cell<Link>,
    content: Content,
}

type Link = Option<Gc<Node>>;

/// Name and attributes of an element.
type Tag = (Bytes, Option<Gc<Attribute>>);

/// Nodes in reverse order while their parent is open.
#[derive(Default)]
struct Open {
    element: Option<Tag>,
    last: Link,
    text: Vec<u8>,
}

fn bytes(of: &[u8]) -> Bytes {
    Bytes::from_slice_atomic(of)
}

impl Open {
    fn of(start: &BytesStart<'_>) -> Self {
        let mut attributes = None;
        let mut all: Vec<_> = start.attributes().flatten().collect();
        while let Some(a) = all.pop() {
            let (name, _value) = (bytes(a.key.0), bytes(&a.value));
            attributes = Some(Gc::new(Attribute {
                next: attributes,
                name,
                _value,
            }));
        }
        Open {
            element: Some((bytes(start.name().0), attributes)),
            ..Open::default()
        }
    }

    fn push(&mut self, content: Content) {
        self.last = Some(Gc::new(Node {
            next: self.last.into(),
            content,
        }));
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            let text = bytes(&self.text);
            self.text.clear();
            self.push(Content::Text(text));
        }
    }

    fn children(mut self) -> (Option<Tag>, Link) {
        self.end_text();
        let mut first = None;
        while let Some(node) = self.last {
            self.last = node.next.replace(first);
            first = Some(node);
        }
        (self.element, first)
    }
}

fn parse(text: &str) -> Result<Link, quick_xml::Error> {
    let mut reader = Reader::from_str(text);
    let mut stack = vec![Open::default()];
    loop {
        let event = reader.read_event()?;
        let top = stack.last_mut().expect("the document is always open");
        match event {
            Event::Start(start) => {
                top.end_text();
                stack.push(Open::of(&start));
            }
            Event::End(_) => {
                let (element, children) = stack
                    .pop()
                    .expect("quick-xml checks that tags match")
                    .children();
                let (_name, attributes) = element.expect("only the document has no element");
                let parent = stack.last_mut().expect("the document is always open");
                parent.push(Content::Element {
                    _name,
                    attributes,
                    children,
                });
            }
            // Text outside of the root element is no part of the tree.
            Event::Text(piece) if top.element.is_some() => top.text.extend_from_slice(&piece),
            Event::GeneralRef(name) if *name == *b"amp" => top.text.push(b'&'),
            Event::Eof => {
                return Ok(stack
                    .pop()
                    .expect("the document is always open")
                    .children()
                    .1);
            }
            _ => {}
        }
    }
}

fn walk(node: Link) -> u64 {
    const ELEMENT: u64 = 1;
    const TEXT: u64 = 3;
    let mut sum = 0;
    for n in std::iter::successors(node, |n| n.next.get()) {
        match n.content {
            Content::Text(text) => sum = mix(mix(sum, TEXT), u64::from(text[0])),
            Content::Element {
                attributes,
                children,
                ..
            } => {
                sum = mix(sum, ELEMENT);
                for a in std::iter::successors(attributes, |a| a.next) {
                    sum = mix(sum, u64::from(a.name[0]));
                }
                sum = mix(sum, walk(children));
            }
        }
    }
    sum
}

pub fn main() {
    let records = option("--records", 13000);
    let parses = option("--parses", 22);
    let keep = option("--keep", 6).max(1);
    let document = Document::generate(records);
    let mut kept: Vec<Link> = vec![None; keep as usize];
    let mut checksum = 0;
    let mut work = Work::default();
    work.time(|| {
        for k in 0..parses {
            let tree = parse(&document.text).expect("the generated document is well-formed");
            checksum = mix(checksum, walk(tree));
            kept[(k % keep) as usize] = tree;
        }
    });
    for tree in kept.iter().filter(|t| t.is_some()) {
        checksum = mix(checksum, walk(*tree));
    }
    finish("xml", checksum, &work);
}
