"""Replace names in the string values of JSON Lines: keys, numbers and order stay, output as json.dumps writes it.

    python -m recipe.replace INPUT OUTPUT --old_text 尖米 --new_text 机智流
    python -m recipe.replace - - --map 尖米=闻星 --map 星海=云图 < in.jsonl > out.jsonl

The law: for every line that the published script accepts, the output is `json.dumps(replaced, ensure_ascii=False)` of
the recursively replaced object. Lines proven canonical (recipe.rows.CANONICAL_ROWS) are replaced as text, which gives
the same bytes without parsing; all others are parsed. Limits of our own: a line of at most 1 MiB; blank lines go.
"""

import sys

from lesson.data.replace import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
