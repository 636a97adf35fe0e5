"""A page as the tests of reports look at it."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """What the tests look at: elements in order, table cells, visible text; complains of wrong nesting."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.tables, self.words, self.headings = [], [], {}, [], []
        self._table = self._cell = None
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.elements.append((tag, attrs))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._table = self.tables.setdefault(attrs["id"], [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag == "small" and self._cell is not None:
            self._cell["text"] += " "
        elif tag in ("td", "th"):
            self._cell = {"tag": tag, "text": "", **attrs}
            self._table[-1].append(self._cell)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("td", "th"):
            self._cell = None

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)
        if self.open and self.open[-1] == "h3":
            self.headings.append(data)
        if self._cell is not None:
            self._cell["text"] += data

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    def rows(self, table):
        """Name of each method -> its cells."""
        return {row[0]["data-name"]: row[1:] for row in self.tables[table] if "data-name" in row[0]}
