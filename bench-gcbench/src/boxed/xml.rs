//! quick-xml parses the document into a tree of boxes, shaped like that of libxml2.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::common::{Document, Work, finish, mix, option};

struct Attribute {
    next: Option<Box<Attribute>>,
    name: Box<[u8]>,
    _value: Box<[u8]>,
}

enum Content {
    Element {
        _name: Box<[u8]>,
        attributes: Option<Box<Attribute>>,
        children: Option<Box<Node>>,
    },
    Text(Box<[u8]>),
}

struct Node {
    next: Option<Box<Node>>,
    content: Content,
}

/// Name and attributes of an element.
type Tag = (Box<[u8]>, Option<Box<Attribute>>);

/// Nodes in reverse order while their parent is open.
#[derive(Default)]
struct Open {
    element: Option<Tag>,
    last: Option<Box<Node>>,
    text: Vec<u8>,
}

impl Open {
    fn of(start: &BytesStart<'_>) -> Self {
        let mut attributes = None;
        let mut all: Vec<_> = start.attributes().flatten().collect();
        while let Some(a) = all.pop() {
            let attribute = Attribute {
                next: attributes,
                name: a.key.0.into(),
                _value: a.value.into(),
            };
            attributes = Some(Box::new(attribute));
        }
        Open {
            element: Some((start.name().0.into(), attributes)),
            ..Open::default()
        }
    }

    fn push(&mut self, content: Content) {
        self.last = Some(Box::new(Node {
            next: self.last.take(),
            content,
        }));
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            let text = self.text.as_slice().into();
            self.text.clear();
            self.push(Content::Text(text));
        }
    }

    fn children(mut self) -> (Option<Tag>, Option<Box<Node>>) {
        self.end_text();
        let mut first = None;
        while let Some(mut node) = self.last {
            self.last = std::mem::replace(&mut node.next, first);
            first = Some(node);
        }
        (self.element, first)
    }
}

fn parse(text: &str) -> Result<Option<Box<Node>>, quick_xml::Error> {
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
                let (name, attributes) = element.expect("only the document has no element");
                let parent = stack.last_mut().expect("the document is always open");
                parent.push(Content::Element {
                    _name: name,
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

fn walk(mut node: Option<&Node>) -> u64 {
    const ELEMENT: u64 = 1;
    const TEXT: u64 = 3;
    let mut sum = 0;
    while let Some(n) = node {
        match &n.content {
            Content::Text(text) => sum = mix(mix(sum, TEXT), u64::from(text[0])),
            Content::Element {
                attributes,
                children,
                ..
            } => {
                sum = mix(sum, ELEMENT);
                for a in std::iter::successors(attributes.as_deref(), |a| a.next.as_deref()) {
                    sum = mix(sum, u64::from(a.name[0]));
                }
                sum = mix(sum, walk(children.as_deref()));
            }
        }
        node = n.next.as_deref();
    }
    sum
}

/// Drops siblings one by one: the drop that the compiler makes needs a stack frame for each.
fn destroy(mut node: Option<Box<Node>>) {
    while let Some(mut n) = node {
        node = n.next.take();
        if let Content::Element { children, .. } = &mut n.content {
            destroy(children.take());
        }
    }
}

pub fn main() {
    let records = option("--records", 13000);
    let parses = option("--parses", 22);
    let keep = option("--keep", 6).max(1);
    let document = Document::generate(records);
    let mut kept: Vec<Option<Box<Node>>> = (0..keep).map(|_| None).collect();
    let mut checksum = 0;
    let mut work = Work::default();
    work.time(|| {
        for k in 0..parses {
            let tree = parse(&document.text).expect("the generated document is well-formed");
            checksum = mix(checksum, walk(tree.as_deref()));
            let slot = &mut kept[(k % keep) as usize];
            destroy(slot.take());
            *slot = tree;
        }
    });
    for tree in kept.iter().flatten() {
        checksum = mix(checksum, walk(Some(tree)));
    }
    work.time(|| kept.into_iter().for_each(destroy));
    finish("xml", checksum, &work);
}
