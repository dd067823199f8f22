//! What a mail says, as text and as HTML. The HTML is as plain as the text: mail programs show little else.

use askama::Template;

use super::Mail;
use crate::deployer::pages::written;
use crate::names::EmailAddress;
use crate::secret::{Entropy, random_id};

/// Something to say to one person.
pub(in crate::deployer) struct Letter {
    pub(in crate::deployer) subject: String,
    pub(in crate::deployer) paragraphs: Vec<String>,
    /// A button, and the paragraphs after it.
    pub(in crate::deployer) link: Option<Link>,
    /// Who writes: the sign-in site's address.
    pub(in crate::deployer) site: String,
}

pub(in crate::deployer) struct Link {
    pub(in crate::deployer) text: &'static str,
    pub(in crate::deployer) href: String,
    pub(in crate::deployer) after: Vec<String>,
}

#[derive(Template)]
#[template(path = "mail.txt")]
struct Text<'a> {
    letter: &'a Letter,
}

#[derive(Template)]
#[template(path = "mail.html")]
struct Html<'a> {
    letter: &'a Letter,
}

impl Letter {
    /// Ready to go to `to`.
    pub(in crate::deployer) fn to(self, to: EmailAddress, entropy: &dyn Entropy) -> Mail {
        let (text, html) = (written(&Text { letter: &self }), written(&Html { letter: &self }));
        Mail { to, subject: self.subject, text, html, id: random_id(entropy) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_says_the_same_in_text_and_in_html() {
        let letter = Letter {
            subject: "Subject".to_owned(),
            paragraphs: vec!["A passkey named <b>\"x\"</b> & co.".to_owned()],
            link: Some(Link {
                text: "Press here",
                href: "https://deployer.patapim.test/auth/email#abc".to_owned(),
                after: vec!["Afterwards.".to_owned()],
            }),
            site: "https://deployer.patapim.test".to_owned(),
        };
        let mail = letter.to(
            EmailAddress::parse("ada@patapim.test").expect("an address"),
            &*crate::secret::SystemEntropy::shared(),
        );
        for part in
            ["https://deployer.patapim.test/auth/email#abc", "Afterwards.", "https://deployer.patapim.test"]
        {
            assert!(
                mail.text.contains(part) && mail.html.contains(part),
                "{part}\n{}\n{}",
                mail.text,
                mail.html
            );
        }
        assert!(mail.text.contains("<b>\"x\"</b> & co."), "{}", mail.text);
        assert!(!mail.html.contains("<b>") && mail.html.contains("&#60;b&#62;"), "{}", mail.html);
    }
}
