//! As much XML as EC2 writes. Comes in: a document. Goes out: its elements with their texts. Attributes
//! are passed over; comments, CDATA and document types are refused. Never: an entity beyond the five of
//! XML and characters by number, a depth without a bound.

/// Elements inside each other.
const DEEPEST: usize = 32;

/// An element.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    /// Its own text, without that of its children.
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }
}

/// The root of a document; `None` where it is not whole.
pub(super) fn read(text: &str) -> Option<Element> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text).trim_start();
    if let Some(declared) = rest.strip_prefix("<?xml") {
        rest = declared.split_once("?>")?.1.trim_start();
    }
    // What is open, from the outside to the inside; below the root stands what has none.
    let mut open = vec![Element::default()];
    while let Some((before, tag)) = rest.split_once('<') {
        let inside = open.last_mut()?;
        unescape(before, &mut inside.text)?;
        let (tag, after) = tag.split_once('>')?;
        if let Some(name) = tag.strip_suffix('/') {
            inside.children.push(Element { name: name_of(name)?, ..Element::default() });
        } else if let Some(name) = tag.strip_prefix('/') {
            let ended = open.pop().filter(|e| e.name == name.trim_end())?;
            open.last_mut()?.children.push(ended);
        } else {
            open.push(Element { name: name_of(tag)?, ..Element::default() });
        }
        rest = after;
        if open.len() > DEEPEST {
            return None;
        }
    }
    let mut outside = open.pop().filter(|_| open.is_empty() && rest.trim().is_empty())?;
    let root = outside.children.pop()?;
    (outside.children.is_empty() && outside.text.trim().is_empty()).then_some(root)
}

/// The name in a tag. An attribute with a `>` in it ends the tag too early, and the document with it.
fn name_of(tag: &str) -> Option<String> {
    let name = tag.split_ascii_whitespace().next()?;
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    (tag.starts_with(name) && name.chars().all(plain) && tag.matches('"').count().is_multiple_of(2))
        .then(|| name.to_owned())
}

fn unescape(text: &str, out: &mut String) -> Option<()> {
    let mut rest = text;
    while let Some((before, entity)) = rest.split_once('&') {
        out.push_str(before);
        let (entity, after) = entity.split_once(';')?;
        out.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = entity.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
        });
        rest = after;
    }
    out.push_str(rest);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_texts_and_entities_are_read() {
        let text =
            "<?xml version=\"1.0\"?>\n<a x=\"1\"><b>1 &lt; 2 &#x41;&#66;</b><c/> <b>2</b></a>\n";
        let root = read(text).unwrap();
        assert_eq!((root.name.as_str(), root.children.len()), ("a", 3));
        assert_eq!(root.child("b").unwrap().text, "1 < 2 AB");
        assert_eq!(root.child("c").unwrap().text, "");
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        for bad in [
            "",
            "a",
            "<a>",
            "<a></b>",
            "<a></a><b></b>",
            "<a/>text",
            "<a>&other;</a>",
            "<a><!-- b --></a>",
            "<!DOCTYPE a><a/>",
            "<a b=\">\"></a>",
            "<a><b></a></b>",
            "<a>&#xd800;</a>",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(&"<a>".repeat(1000)), None);
    }
}
