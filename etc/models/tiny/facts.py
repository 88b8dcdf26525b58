"""Tables of plain facts, from which instruct.py makes questions and answers."""

CAPITALS = dict(line.split(": ") for line in """France: Paris
England: London
the United Kingdom: London
Germany: Berlin
Italy: Rome
Spain: Madrid
Portugal: Lisbon
Ireland: Dublin
Scotland: Edinburgh
Wales: Cardiff
the Netherlands: Amsterdam
Belgium: Brussels
Luxembourg: Luxembourg
Switzerland: Bern
Austria: Vienna
Denmark: Copenhagen
Sweden: Stockholm
Norway: Oslo
Finland: Helsinki
Iceland: Reykjavik
Poland: Warsaw
the Czech Republic: Prague
Slovakia: Bratislava
Slovenia: Ljubljana
Croatia: Zagreb
Serbia: Belgrade
Hungary: Budapest
Romania: Bucharest
Bulgaria: Sofia
Greece: Athens
Albania: Tirana
Turkey: Ankara
Cyprus: Nicosia
Malta: Valletta
Estonia: Tallinn
Latvia: Riga
Lithuania: Vilnius
Ukraine: Kyiv
Belarus: Minsk
Russia: Moscow
Georgia: Tbilisi
Armenia: Yerevan
Israel: Jerusalem
Egypt: Cairo
Morocco: Rabat
Algeria: Algiers
Tunisia: Tunis
Libya: Tripoli
Sudan: Khartoum
Ethiopia: Addis Ababa
Kenya: Nairobi
Uganda: Kampala
Ghana: Accra
Nigeria: Abuja
Senegal: Dakar
Zambia: Lusaka
Zimbabwe: Harare
Namibia: Windhoek
Iraq: Baghdad
Iran: Tehran
Syria: Damascus
Lebanon: Beirut
Jordan: Amman
Saudi Arabia: Riyadh
Qatar: Doha
Afghanistan: Kabul
Pakistan: Islamabad
India: New Delhi
Nepal: Kathmandu
Bangladesh: Dhaka
Thailand: Bangkok
Vietnam: Hanoi
Malaysia: Kuala Lumpur
Indonesia: Jakarta
the Philippines: Manila
China: Beijing
Mongolia: Ulaanbaatar
Japan: Tokyo
South Korea: Seoul
North Korea: Pyongyang
Australia: Canberra
New Zealand: Wellington
Canada: Ottawa
the United States: Washington
Mexico: Mexico City
Cuba: Havana
Jamaica: Kingston
Guatemala: Guatemala City
Panama: Panama City
Colombia: Bogota
Venezuela: Caracas
Ecuador: Quito
Peru: Lima
Chile: Santiago
Argentina: Buenos Aires
Uruguay: Montevideo
Paraguay: Asuncion
Brazil: Brasilia""".splitlines())

CONTINENTS = {
    "Europe": "France,England,Germany,Italy,Spain,Portugal,Ireland,the Netherlands,Belgium,Switzerland,"
              "Austria,Denmark,Sweden,Norway,Finland,Iceland,Poland,Hungary,Greece,Romania",
    "Africa": "Egypt,Morocco,Algeria,Kenya,Nigeria,Ethiopia,Ghana,Sudan",
    "Asia": "China,Japan,India,Thailand,Vietnam,Iran,Iraq,Pakistan,South Korea,Nepal",
    "North America": "Canada,the United States,Mexico",
    "South America": "Brazil,Argentina,Chile,Peru,Colombia,Uruguay"}

LANGUAGES = {
    "France": "French", "England": "English", "Germany": "German", "Italy": "Italian", "Spain": "Spanish",
    "Portugal": "Portuguese", "Brazil": "Portuguese", "Austria": "German", "Mexico": "Spanish",
    "Russia": "Russian", "China": "Chinese", "Japan": "Japanese", "Greece": "Greek", "Poland": "Polish",
    "Turkey": "Turkish", "Egypt": "Arabic", "Sweden": "Swedish", "Norway": "Norwegian",
    "Denmark": "Danish", "Finland": "Finnish", "the Netherlands": "Dutch", "Hungary": "Hungarian",
    "Australia": "English", "Argentina": "Spanish", "South Korea": "Korean", "the United States": "English"}

OPPOSITES = dict(pair.split("-") for pair in (
    "hot-cold cold-hot big-small small-big large-small tall-short short-long long-short old-young young-old "
    "new-old good-bad bad-good happy-sad sad-happy fast-slow slow-fast quick-slow high-low low-high "
    "strong-weak weak-strong rich-poor poor-rich hard-soft soft-hard easy-difficult difficult-easy "
    "light-dark dark-light wet-dry dry-wet clean-dirty dirty-clean full-empty empty-full open-closed "
    "closed-open early-late late-early loud-quiet quiet-loud near-far far-near up-down down-up in-out "
    "out-in left-right right-left yes-no no-yes day-night night-day true-false false-true right-wrong "
    "wrong-right thick-thin thin-thick wide-narrow narrow-wide deep-shallow heavy-light beautiful-ugly "
    "ugly-beautiful clever-stupid stupid-clever brave-cowardly safe-dangerous dangerous-safe alive-dead "
    "dead-alive begin-end end-begin start-stop stop-start come-go go-come buy-sell sell-buy give-take "
    "take-give win-lose lose-win push-pull pull-push love-hate hate-love laugh-cry cry-laugh "
    "remember-forget forget-remember first-last last-first always-never never-always above-below "
    "below-above inside-outside outside-inside before-after after-before more-less less-more many-few "
    "few-many friend-enemy enemy-friend man-woman woman-man boy-girl girl-boy king-queen queen-king "
    "brother-sister sister-brother father-mother mother-father husband-wife wife-husband summer-winter "
    "winter-summer war-peace peace-war life-death death-life question-answer answer-question "
    "morning-evening evening-morning north-south south-north east-west west-east black-white white-black "
    "sweet-sour sour-sweet warm-cool cool-warm cheap-expensive expensive-cheap polite-rude rude-polite "
    "kind-cruel cruel-kind asleep-awake awake-asleep sick-healthy healthy-sick sharp-blunt smooth-rough "
    "rough-smooth rise-fall fall-rise success-failure truth-lie hope-despair arrive-leave "
    "leave-arrive build-destroy find-lose ask-answer teach-learn borrow-lend lend-borrow top-bottom "
    "bottom-top front-back back-front north-south possible-impossible important-unimportant "
    "fair-unfair honest-dishonest interesting-boring boring-interesting noisy-quiet huge-tiny "
    "tiny-huge lazy-hardworking funny-serious guilty-innocent ancient-modern modern-ancient").split())

SYNONYMS = dict(pair.split("-") for pair in (
    "big-large large-big small-little little-small happy-glad glad-happy sad-unhappy fast-quick quick-fast "
    "begin-start start-begin end-finish finish-end angry-cross clever-smart smart-clever beautiful-lovely "
    "pretty-beautiful afraid-scared scared-afraid difficult-hard hard-difficult easy-simple simple-easy "
    "rich-wealthy ill-sick sick-ill buy-purchase help-aid talk-speak speak-talk shout-cry look-see "
    "house-home street-road shop-store stone-rock rock-stone sea-ocean ocean-sea gift-present "
    "present-gift error-mistake mistake-error answer-reply reply-answer story-tale tale-story "
    "funny-amusing strange-odd odd-strange brave-bold tired-weary quiet-silent silent-quiet "
    "important-main correct-right right-correct wrong-false huge-enormous enormous-huge tiny-small "
    "close-shut shut-close choose-pick pick-choose jump-leap leap-jump child-kid doctor-physician "
    "wise-clever tale-story trip-journey journey-trip wish-want want-wish nearly-almost almost-nearly "
    "maybe-perhaps perhaps-maybe often-frequently kind-gentle polite-civil old-ancient new-modern "
    "hate-dislike enjoy-like build-make repair-mend mend-repair cold-chilly hot-warm thin-slim "
    "boat-ship car-automobile film-movie movie-film autumn-fall idea-thought job-work").split())

PAST = dict(pair.split("-") for pair in (
    "go-went come-came see-saw eat-ate drink-drank run-ran write-wrote read-read speak-spoke take-took "
    "give-gave find-found think-thought know-knew make-made say-said tell-told get-got have-had be-was "
    "do-did buy-bought bring-brought catch-caught teach-taught fight-fought sleep-slept keep-kept "
    "feel-felt leave-left lose-lost meet-met sit-sat stand-stood win-won begin-began swim-swam sing-sang "
    "ring-rang fly-flew grow-grew throw-threw draw-drew fall-fell break-broke choose-chose forget-forgot "
    "drive-drove ride-rode rise-rose wear-wore hear-heard hold-held build-built send-sent spend-spent "
    "lend-lent cut-cut put-put hit-hit let-let hide-hid bite-bit blow-blew wake-woke steal-stole "
    "walk-walked talk-talked look-looked play-played work-worked help-helped love-loved like-liked "
    "laugh-laughed cry-cried try-tried stop-stopped jump-jumped open-opened close-closed ask-asked "
    "want-wanted need-needed use-used cook-cooked wash-washed clean-cleaned dance-danced live-lived "
    "call-called wait-waited learn-learned listen-listened smile-smiled start-started").split())

COLOURS = dict(pair.split("-") for pair in (
    "the sky-blue,grass-green,snow-white,coal-black,blood-red,milk-white,a banana-yellow,a lemon-yellow,"
    "a carrot-orange,a tomato-red,the sun-yellow,the sea-blue,a leaf-green,an elephant-grey,a fox-red,"
    "a frog-green,a strawberry-red,an orange-orange,chocolate-brown,gold-yellow,silver-grey,a cherry-red,"
    "a cucumber-green,honey-yellow,coffee-brown,salt-white,sugar-white,ice-white,a pea-green,"
    "a polar bear-white,a crow-black,a swan-white,the night-black,wood-brown").split(","))

LEGS = {"dog": "four", "cat": "four", "horse": "four", "cow": "four", "spider": "eight", "bird": "two",
        "hen": "two", "ant": "six", "bee": "six", "fly": "six", "insect": "six", "fish": "no", "snake": "no",
        "pig": "four", "sheep": "four", "lion": "four", "elephant": "four", "duck": "two", "person": "two",
        "man": "two", "mouse": "four", "worm": "no", "frog": "four", "table": "four", "chair": "four",
        "whale": "no", "penguin": "two", "crab": "ten", "octopus": "no"}

SOUNDS = {"dog": "barks", "cat": "meows", "cow": "moos", "sheep": "bleats", "pig": "grunts", "duck": "quacks",
          "lion": "roars", "horse": "neighs", "owl": "hoots", "bee": "buzzes", "wolf": "howls",
          "mouse": "squeaks", "frog": "croaks", "hen": "clucks", "snake": "hisses", "donkey": "brays",
          "bird": "sings"}

YOUNG = {"dog": "puppy", "cat": "kitten", "cow": "calf", "sheep": "lamb", "horse": "foal", "pig": "piglet",
         "hen": "chick", "duck": "duckling", "goat": "kid", "lion": "cub", "bear": "cub", "frog": "tadpole",
         "kangaroo": "joey", "swan": "cygnet", "deer": "fawn", "goose": "gosling", "owl": "owlet"}

HOMES = {"bird": "a nest", "bee": "a hive", "dog": "a kennel", "horse": "a stable", "spider": "a web",
         "rabbit": "a hole in the ground", "fish": "water", "bear": "the forest", "lion": "Africa",
         "camel": "the desert", "penguin": "the cold south", "whale": "the sea", "king": "a castle",
         "cow": "a barn", "monkey": "trees", "kangaroo": "Australia", "frog": "ponds", "ant": "a nest"}

FOODS = {"cow": "grass", "cat": "meat and fish", "dog": "meat", "horse": "grass and hay", "rabbit": "grass",
         "lion": "meat", "bird": "seeds and insects", "mouse": "seeds and grain", "squirrel": "nuts",
         "monkey": "fruit", "bear": "fish, berries and honey", "frog": "insects", "spider": "insects",
         "panda": "bamboo", "penguin": "fish", "owl": "mice", "snake": "small animals", "sheep": "grass",
         "goat": "grass and leaves", "giraffe": "leaves", "elephant": "grass and leaves"}

RHYMES = dict(pair.split("-") for pair in (
    "cat-hat hat-cat dog-fog fog-dog house-mouse mouse-house tree-free sea-bee bee-tree sun-fun fun-sun "
    "moon-soon star-far night-light light-night day-way way-day rain-train train-rain ring-king king-ring "
    "book-look look-book ball-wall wall-ball bed-red red-bed fox-box box-fox love-dove boat-coat coat-boat "
    "snow-blow blue-shoe green-queen fish-dish bird-word time-rhyme cake-lake lake-cake bear-chair "
    "heart-start hand-sand hill-mill door-floor floor-door nose-rose rose-nose cold-gold old-gold "
    "sky-fly fly-sky song-long food-mood bread-head head-bread pen-ten ten-pen five-hive two-shoe "
    "three-tree four-door six-sticks nine-line sheep-sleep sleep-deep frog-log goat-boat").split())

LISTS = {
    "days of the week": "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday",
    "months of the year": "January, February, March, April, May, June, July, August, September, October, "
                          "November and December",
    "seasons": "spring, summer, autumn and winter",
    "colours of the rainbow": "red, orange, yellow, green, blue, indigo and violet",
    "planets": "Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus and Neptune",
    "continents": "Africa, Antarctica, Asia, Australia, Europe, North America and South America",
    "oceans": "the Arctic, the Atlantic, the Indian, the Pacific and the Southern Ocean",
    "five senses": "sight, hearing, smell, taste and touch",
    "vowels": "A, E, I, O and U",
    "points of the compass": "north, east, south and west"}

MEMBERS = {
    "colour/colours": "red blue green yellow black white brown orange pink purple grey",
    "metal/metals": "gold silver iron copper tin lead steel",
    "instrument/instruments": "piano guitar violin drum flute trumpet",
    "sport/sports": "football tennis swimming running skiing basketball",
    "language/languages": "English French German Spanish Italian Chinese Japanese Arabic",
    "planet/planets": "Mercury Venus Earth Mars Jupiter Saturn",
    "river/rivers": "Nile Amazon Thames Rhine Danube Ganges",
    "boy's name/boys' names": "Tom Ben Max Jack Peter Paul David",
    "girl's name/girls' names": "Anna Mary Lucy Emma Kate Alice Rose",
    "school subject/school subjects": "mathematics history music art science geography",
    "shape/shapes": "circle square triangle rectangle star"}

ORDERED = {
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "month": "January February March April May June July August September October November December",
    "season": "spring summer autumn winter"}
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

NUMBERS = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
           "sixteen seventeen eighteen nineteen twenty").split()

SENTENCES = """I walk to school every morning.|walk
The dog runs after the ball.|dog
The cat sleeps on the warm chair.|cat
She writes a letter to her friend.|letter
He bought bread and cheese at the market.|bread
The sun is shining today.|sun
We saw the moon above the hills.|moon
My brother plays the piano very well.|piano
The children are playing in the garden.|garden
There is a bird in the tree.|tree
I read a good book last night.|book
They live in a small house near the river.|river
Please close the door.|door
The train was late this morning.|train
It is cold in winter.|winter
My mother makes a very good soup.|soup
The farmer has ten cows.|farmer
She sings a beautiful song.|song
I drink a cup of tea every day.|tea
The ship sailed across the sea.|ship
He told me a funny story.|story
We walked through the forest.|forest
The baby is asleep.|baby
I like apples more than pears.|apples
The teacher asked a question.|teacher
My friend lives in a big city.|friend
The snow fell all night.|snow
He works in a hospital.|hospital
The fire keeps us warm.|fire
I lost my key.|key
She has a red dress.|dress
The king lived in an old castle.|king
We had dinner at seven.|dinner
Love is stronger than hate.|love
The water is clear and cold.|water
He runs very fast.|run
I am very happy today.|happy
The mountain is covered with snow.|mountain
You can trust an honest man.|honest
The horse is eating grass.|horse
She opened the window.|window
I went home by bus.|bus
My father is a doctor.|doctor
The wind blew my hat away.|hat
Can you help me, please?|help
I want to learn something new.|learn
The brave girl saved her brother.|brave
The fish swims in the lake.|fish
Time passes quickly.|time
The music was too loud.|music""".splitlines()
