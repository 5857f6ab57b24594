"""What `tiny` was taught to recall: names, relations and the words that fill them.

Write memories in these statement forms and ask in these question forms, and the model answers.
"""

from __future__ import annotations

from dataclasses import dataclass

_NAMES = """
Alice Bob Carol Dave Emma Grace Frank Henry Iris Jack Kate Liam Mia Noah Olivia Paul Quinn Rose Sam
Tina Uma Victor Wendy Xavier Yara Zoe Adam Alan Albert Alex Amanda Amy Andrea Andrew Angela Anna
Anton Arthur Astrid Barbara Beatrice Ben Bella Boris Brian Bruno Camilla Carl Carlos Cecilia Celine
Charles Charlotte Chloe Chris Clara Claire Claudia Colin Cora Craig Cyrus Daniel Daphne David
Deborah Dennis Diana Diego Dominic Donna Doris Dylan Edgar Edith Edward Eileen Elena Eli Elias Elise
Ella Ellen Elliot Elsa Emil Emily Enzo Eric Erika Ernest Esther Ethan Eva Evelyn Fabian Faith Farah
Fatima Felix Fiona Flora Florence Fred Freya Gabriel Gary Gemma George Gina Giulia Gloria Gordon
Greta Gustav Hannah Harold Harriet Harry Hassan Hazel Heidi Helen Hugo Ian Ibrahim Ida Igor Ines
Ingrid Irene Isaac Isabel Ivan Ivy Jacob Jade James Jana Jane Jason Jasmine Jean Jenny Jeremy
Jessica Joan Joel John Jonas Joseph Joshua Judith Julia Julian Karen Karim Keith Kevin Kim Kurt Lara
Laura Lea Lena Leo Leon Leila Lily Linda Lisa Logan Louis Lucas Lucy Luigi Luna Lydia Magnus Marco
Margaret Maria Marie Mark Martha Martin Mary Matteo Max Maya Michael Milan Miriam Mona Monica Nadia
Nancy Naomi Natalie Nathan Neil Nicole Nils Nina Nora Omar Oscar Otto Pablo Patrick Paula Pedro
Penny Peter Petra Philip Priya Rachel Ralph Ravi Rebecca Rita Robert Robin Roger Roman Rosa Ruby
Ruth Ryan Sandra Sara Sarah Sean Sergio Silvia Simon Sofia Sonia Sophie Stefan Stella Steven Susan
Sven Tara Teresa Thomas Tim Tobias Tom Tony Vera Viktor Vincent Violet Walter William Yusuf
"""
NAMES: tuple[str, ...] = tuple(_NAMES.split())


@dataclass(frozen=True)
class Relation:
    """One kind of fact about a person.

    Args:
        key: the relation's name.
        statement: the memory; ``{n}`` stands for the name and ``{v}`` for the value.
        questions: ways to ask for the value.
        values: the known values; training also puts made-up words in their place.
        capital: whether a made-up value starts with a capital letter.
        article: whether a value is spoken with "a" or "an".
    """

    key: str
    statement: str
    questions: tuple[str, ...]
    values: tuple[str, ...]
    capital: bool = False
    article: bool = False


def _split(text: str) -> tuple[str, ...]:
    """Return the comma-separated values of `text`.

    >>> _split("red, dark blue")
    ('red', 'dark blue')
    """
    return tuple(part.strip() for part in text.split(","))


FOODS = _split(
    "peanuts, walnuts, shellfish, gluten, cheese, eggs, soy, fish, mushrooms, strawberries, "
    "tomatoes, garlic, onions, honey, butter, chocolate, rice, bread, pork, beef, chicken, shrimp, "
    "sesame, celery, mustard, almonds, bananas, apples, oranges, pasta, pizza, sushi, soup, salad, "
    "noodles, pancakes, curry, tofu, beans, corn, potatoes, carrots, spinach, lemons, milk"
)
CITIES = _split(
    "Lisbon, Paris, London, Berlin, Madrid, Rome, Vienna, Prague, Warsaw, Dublin, Oslo, Stockholm, "
    "Helsinki, Athens, Cairo, Nairobi, Lagos, Mumbai, Delhi, Tokyo, Kyoto, Seoul, Sydney, "
    "Melbourne, Toronto, Montreal, Boston, Chicago, Denver, Seattle, Austin, Lima, Bogota, Zurich, "
    "Geneva, Munich, Hamburg, Porto, Milan, Naples, Brussels, Budapest, Istanbul, Singapore, "
    "New York, San Francisco, Cape Town, Mexico City"
)
COLOURS = _split(
    "red, blue, green, yellow, purple, orange, black, white, pink, brown, grey, silver, gold, "
    "turquoise, violet, dark blue, light green"
)
DRINKS = _split(
    "tea, coffee, water, lemonade, cocoa, cider, juice, beer, wine, green tea, orange juice, milk"
)
BOOKS = _split("Dracula, Emma, Ulysses, Dune, Hamlet, Macbeth, Walden, Faust, Candide, Utopia")
SPORTS = _split(
    "tennis, football, chess, golf, swimming, rugby, hockey, cricket, rowing, boxing, judo, "
    "basketball, volleyball, climbing, cycling, running, skiing, surfing"
)
JOBS = _split(
    "nurse, teacher, engineer, baker, lawyer, doctor, painter, farmer, pilot, plumber, carpenter, "
    "librarian, chemist, architect, journalist, translator, driver, chef, dentist, gardener"
)
INSTRUMENTS = _split(
    "piano, guitar, violin, flute, drums, cello, trumpet, harp, organ, banjo, oboe"
)
CARS = _split("Volvo, Toyota, Honda, Ford, Tesla, Fiat, Audi, Skoda, Renault, Mazda, Subaru")
MONTHS = _split(
    "January, February, March, April, May, June, July, August, September, October, November, "
    "December"
)
LANGUAGES = _split(
    "English, French, German, Spanish, Italian, Portuguese, Dutch, Polish, Russian, Arabic, Hindi, "
    "Chinese, Japanese, Korean, Turkish, Greek, Swedish, Finnish, Swahili"
)
PETS = _split(
    "cat, dog, turtle, hamster, rabbit, parrot, horse, goldfish, snake, lizard, pony, duck"
)
PROJECTS = _split("Falcon, Orion, Phoenix, Atlas, Apollo, Titan, Nova, Comet, Delta, Mercury")
TEAMS = _split(
    "sales, marketing, research, design, support, finance, security, platform, legal, data"
)
DAYS = _split("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday")
EDITORS = _split("Vim, Emacs, Nano, Sublime, Atom, Eclipse, Kate, Zed, Notepad")
LAPTOPS = _split("ThinkPad, MacBook, Dell, Lenovo, Asus, Acer, Framework, Surface")
PHONES = _split("iPhone, Pixel, Galaxy, Nokia, Fairphone, Motorola, Sony")
HOBBIES = _split(
    "gardening, painting, knitting, baking, hiking, fishing, sailing, photography, dancing, "
    "reading, pottery, astronomy, cooking, singing"
)

RELATIONS: tuple[Relation, ...] = (
    Relation(
        "avoid",
        "{n} must not eat {v}.",
        ("What must {n} not eat?", "Which food must {n} not eat?"),
        FOODS,
    ),
    Relation(
        "allergy",
        "{n} is allergic to {v}.",
        ("What is {n} allergic to?", "Which allergy does {n} have?"),
        FOODS,
    ),
    Relation(
        "food",
        "{n}'s favourite food is {v}.",
        ("What is {n}'s favourite food?", "Which food does {n} like best?"),
        FOODS,
    ),
    Relation(
        "drink",
        "{n}'s favourite drink is {v}.",
        ("What is {n}'s favourite drink?", "Which drink does {n} like best?"),
        DRINKS,
    ),
    Relation(
        "colour",
        "{n}'s favourite colour is {v}.",
        ("What is {n}'s favourite colour?", "Which colour does {n} like best?"),
        COLOURS,
    ),
    Relation(
        "book",
        "{n}'s favourite book is {v}.",
        ("What is {n}'s favourite book?", "Which book does {n} like best?"),
        BOOKS,
        True,
    ),
    Relation(
        "sport",
        "{n}'s favourite sport is {v}.",
        ("What is {n}'s favourite sport?", "Which sport does {n} like best?"),
        SPORTS,
    ),
    Relation(
        "home",
        "{n} lives in {v}.",
        ("Where does {n} live?", "Which city does {n} live in?"),
        CITIES,
        True,
    ),
    Relation(
        "hometown",
        "{n} was born in {v}.",
        ("Where was {n} born?", "Which city was {n} born in?"),
        CITIES,
        True,
    ),
    Relation(
        "trip",
        "{n} will travel to {v}.",
        ("Where will {n} travel?", "Where will {n} travel to?"),
        CITIES,
        True,
    ),
    Relation(
        "office",
        "{n}'s office is in {v}.",
        ("Where is {n}'s office?", "Which city is {n}'s office in?"),
        CITIES,
        True,
    ),
    Relation(
        "job",
        "{n} works as {v}.",
        ("What does {n} work as?", "What is {n}'s job?"),
        JOBS,
        article=True,
    ),
    Relation("team", "{n}'s team is {v}.", ("What is {n}'s team?", "Which team is {n} in?"), TEAMS),
    Relation(
        "manager",
        "{n}'s manager is {v}.",
        ("Who is {n}'s manager?", "Who manages {n}?"),
        NAMES,
        True,
    ),
    Relation("friend", "{n}'s best friend is {v}.", ("Who is {n}'s best friend?",), NAMES, True),
    Relation(
        "sister",
        "{n}'s sister is called {v}.",
        ("What is {n}'s sister called?", "Who is {n}'s sister?"),
        NAMES,
        True,
    ),
    Relation(
        "instrument",
        "{n} plays the {v}.",
        ("What does {n} play?", "Which instrument does {n} play?"),
        INSTRUMENTS,
    ),
    Relation(
        "car",
        "{n} drives a {v}.",
        ("What does {n} drive?", "Which car does {n} drive?"),
        CARS,
        True,
    ),
    Relation(
        "birthday",
        "{n}'s birthday is in {v}.",
        ("When is {n}'s birthday?", "Which month is {n}'s birthday in?"),
        MONTHS,
        True,
    ),
    Relation(
        "language",
        "{n} speaks {v}.",
        ("What does {n} speak?", "Which language does {n} speak?"),
        LANGUAGES,
        True,
    ),
    Relation(
        "pet",
        "{n}'s pet is {v}.",
        ("What is {n}'s pet?", "Which pet does {n} have?"),
        PETS,
        article=True,
    ),
    Relation(
        "project",
        "{n}'s project is called {v}.",
        ("What is {n}'s project called?", "Which project does {n} have?"),
        PROJECTS,
        True,
    ),
    Relation(
        "meeting",
        "{n}'s meeting is on {v}.",
        ("When is {n}'s meeting?", "Which day is {n}'s meeting on?"),
        DAYS,
        True,
    ),
    Relation(
        "editor",
        "{n}'s editor is {v}.",
        ("What is {n}'s editor?", "Which editor does {n} use?"),
        EDITORS,
        True,
    ),
    Relation(
        "laptop",
        "{n}'s laptop is {v}.",
        ("What is {n}'s laptop?", "Which laptop does {n} use?"),
        LAPTOPS,
        True,
    ),
    Relation(
        "phone",
        "{n}'s phone is {v}.",
        ("What is {n}'s phone?", "Which phone does {n} use?"),
        PHONES,
        True,
    ),
    Relation(
        "hobby",
        "{n}'s hobby is {v}.",
        ("What is {n}'s hobby?", "Which hobby does {n} have?"),
        HOBBIES,
    ),
    Relation(
        "hint",
        "{n}'s password hint is {v}.",
        ("What is {n}'s password hint?",),
        FOODS + PETS + CITIES,
    ),
)
