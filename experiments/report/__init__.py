"""``dyc report``: the papers' figures and claims beside what was measured, as Markdown and as one page of HTML."""
