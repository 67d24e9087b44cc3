"""Words for lists and lines: 240 concrete English nouns and 60 adjectives, chosen by hand; none twice."""

from __future__ import annotations

NOUNS = tuple(
    """
    anchor apple apron arrow axe badge bag ball banana barn barrel basket beach bean bear bed bee bell belt bench
    berry bicycle bird blanket boat bone book boot bottle bowl box branch bread brick bridge broom bucket butter button
    cabin cable cage cake camel camera candle canoe carpet carrot castle cat chain chair cheese cherry chest chicken
    church clock cloud coat coin comb copper corn cotton cow crab crown cup curtain deer desk diamond dish dog doll
    donkey door dove dragon drawer dress drum duck eagle ear egg elbow elephant engine eye fan feather fence field
    finger fish flag flame flower flute fork fountain fox frog fruit garden gate ghost glass glove goat gold goose grape
    grass guitar hammer hat hawk helmet hill honey hook horn horse house ice ink iron island jacket jar jewel kettle
    key king kite knee knife knot ladder lake lamb lamp lantern leaf leather lemon letter lion lip lock log lute
    map marble mask meadow melon mirror monkey moon mop moth mountain mouse mud nail necklace needle nest net nose nut
    oak ocean olive onion orange oven owl paddle paint palace pan paper parrot peach pearl pebble pen pepper piano
    pigeon pillow pine pipe plate plough plum pocket pond potato prince pumpkin purse rabbit rail razor ribbon ring
    river road robe rocket roof rope rose sail salt sand saw scarf seed sheep ship shirt shoe shovel silk
    """.split()
)
ADJECTIVES = tuple(
    """
    amber ancient bitter blunt brave bright brisk broad calm clever cold coral crimson curly dark distant dusty eager
    early faint fair fierce flat fond gentle golden grand green hollow humble keen large late lively lucky mellow mild
    misty narrow noble pale patient plain polite proud quick quiet rapid rough sharp silent silver sleepy steep sturdy
    sweet tidy warm wild young
    """.split()
)[:60]
