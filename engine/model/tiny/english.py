"""Ordinary English for the tokenizer's training, so that conversation costs few tokens."""

from __future__ import annotations

_TEXT = """
I had a long talk with my mother about the house this morning and she was happy with the price.
We should meet again next week, because there was not enough time to look at everything today.
Thank you so much for your help with the report, it was really great to work with you on this.
Can you tell me when the train from the station to the airport leaves, and how long it takes?
She said that she would rather stay at home tonight and watch a movie with her children.
He wants to change his job next year and is thinking about moving to another country.
They bought a new car last month, but it broke down twice and had to go back to the shop.
Please remember to send me the documents before the end of the day, otherwise we will be late.
My doctor told me to drink more water, eat less sugar and go for a walk every evening.
I do not like the weather here in winter; it is always cold and dark and it rains a lot.
The customer asked for a refund because the package was damaged when it arrived at the door.
Our flight was delayed for three hours, so we missed the dinner and the first meeting.
What do you think about the plan? I believe that it could work, but we need more people.
The user prefers short answers and would like to see examples with every explanation.
Let me know whether you can come to the party on the weekend; everyone is going to be there.
I am learning to play music again after many years, and I try to practice for an hour a day.
Her daughter started school in September and already has a few good friends in her class.
It was a beautiful summer, and we spent almost every afternoon at the beach near the village.
You could ask the neighbour for the key, or just wait until somebody comes back from work.
We decided to cancel the order since the company never answered any of our questions.
The team finished the first version of the software and will show it to the client tomorrow.
I would be glad to help you with that, but I need a little more information about the problem.
Somebody left the window open during the night, and now the whole kitchen is full of water.
My favourite thing about the city is that you can walk nearly everywhere and the people are kind.
If you want to learn a language quickly, you should speak it with someone for a while each day.
The old man told us stories about the war, about his family and about the town as it used to be.
Could you please explain again how this works? I still don't understand the second part.
I'm sorry that I didn't call you yesterday; I wasn't feeling well and went to bed early.
That's a very interesting question, and I don't think there's a simple answer to it.
He's been married for ten years, they've got two boys, and they're looking for a bigger place.
We'll probably take the bus, since it isn't far and the parking in the centre costs too much.
It doesn't matter which one you choose, both of them are good and neither is very expensive.
She wouldn't accept the offer, even though the money was better than anything before.
The assistant should always answer politely and never share private data with other people.
A good breakfast, some fresh air and a bit of exercise make the whole day feel different.
There are several reasons for this decision, and the most important of them is safety.
The government announced that taxes would rise by four percent over the next few years.
Scientists have found that sleep is important for memory, and that most people get too little.
Put the flour, the sugar and the salt in a large bowl, add two cups of milk and mix well.
Turn left at the corner, go straight on for about half a mile, and the hotel is on your right.
The book tells the story of a young woman who leaves her village and finds work in the capital.
I need to book a table for six people on Saturday evening at around seven, near the window.
Yesterday I ran five miles in under fifty minutes, which is my best time so far this year.
The meeting was moved from Monday to Wednesday because half of the group was out of the office.
He forgot his password again and had to ask the support team to reset the account.
Their daughter is a student of medicine, and their son works at a bank in the north of England.
I usually get up at six, make some coffee, read the news and then take the dog outside.
We talked about the budget, the schedule and the risks, but nobody had a clear answer.
The phone's battery does not hold very long, so please charge it before you leave the house.
Whenever I visit my grandmother, she cooks far too much food and sends me home with the rest.
Are you sure that this is the right address? The map shows a different street name and number.
How often do you go to the gym, and what kind of training would you recommend for beginners?
Which of these would you prefer, and why? Who else should know about it? Where is it kept?
Nothing happened for a long time, and then suddenly everybody started to laugh and shout.
Maybe we could start earlier, perhaps around eight, so that there is enough light outside.
Both children are healthy and happy; the younger one has just begun to walk and to say words.
The restaurant was closed, therefore we went home, ordered something and played cards.
Although the project was difficult, everyone learned something, and the result looks great.
I have known him since we were kids; he is honest, patient, funny and always on time.
In my opinion the best way to save money is to write down everything that you spend.
Without your support I could never have finished it, and I'm really thankful for that.
The hospital called: your appointment is next Thursday at nine, please bring your papers.
She is interested in history, art and nature, and spends her free time in museums and parks.
You're welcome! Is there anything else that I can do for you today? Yes, one more question.
Hello, how are you doing? I'm fine, thanks. What about you? Not bad, just a little tired.
Good morning, everyone. Sorry, I can't hear you. Okay, now it's better. Let's begin, shall we?
""".strip()

SENTENCES: tuple[str, ...] = tuple(_TEXT.splitlines())

_COMMON = """
able about above accept accident account across action activity actually add address adult advice
afraid after again against age ago agree air airport alarm album allow almost alone along already
also although always amount anger angry animal anniversary announce another answer anybody anyone
anything apartment appear application appointment area argue arm army around arrive article ask
aunt autumn available average avoid away baby bag balance ball band bank base bath bathroom
battery beach bear beautiful become bed bedroom before begin behaviour behind believe below best
better between beyond big bike bill bird birth bit black blood board boat body bone border born
boss both bottle bottom bowl box boy brain branch break breakfast bring brother build building
burn bus business busy button buy cake calendar call camera camp card care careful carry case cash
catch cause celebrate centre certain chair chance change character charge cheap check child
childhood choice choose church citizen class clean clear climate clock close clothes cloud club
code cold college come comfortable common community company compare complete completely computer
concert condition contact continue contract control conversation cook cool copy cost count country
couple course court cousin cover create credit crowd culture cup customer cut damage danger dark
data date daughter day dead deal dear death decide decision deep degree delivery department
describe desk detail develop diet difference different difficult dinner direction dish doctor
document dollar door doubt down draw dream dress drink drive drop dry during each early earth
easily east easy eat education effect effort eight either election else email empty end energy
enjoy enough enter environment especially even evening event ever every everybody everyone
everything exactly exam example excellent except excited exercise expect expensive experience
explain extra eye face fact fail fall family famous far farm fast father favourite fear feel
fever few field fight file fill film final finally find fine finger finish fire first fit five fix
flat flight floor flower follow food foot foreign forest forever forget forgot forward four free
fresh fridge friend friendly front fruit full fun funny furniture future game garden general gentle
gift girl give glad glass goal gone good government grade grandfather grandmother great ground
group grow guess guest guide habit hair half hand handle happen happy hard hate head headache
health healthy hear heart heat heavy height hello help her here herself high hill himself history
hold holiday home hope hospital hot hotel hour house however huge human hundred hungry hurry hurt
husband idea illness imagine important improve include increase industry inside instead interest
interesting internet interview invite island issue itself join joke journey judge jump just keep
key kid kill kind kitchen knee knife know knowledge lake land language large last late later laugh
law lead learn least leave left leg lesson letter level library life lift light like line list
listen little live local lock lonely long look lose lost lot loud love low lucky lunch machine main
make man manage many map market marriage married match matter maybe meal mean measure meat
medicine medical meet member memory message middle might mile million mind minute miss mistake
modern moment money month moon more morning most mother mountain mouth move movie much museum
music must name narrow nation nature near nearly necessary neck need neighbour nervous never new
news newspaper next nice night nine nobody noise none normal north nose note nothing notice number
object offer office often old once one only open opinion opposite order other ought outside oven
own page pain paint pair paper parent park part particular partner party pass passport past patient
pay peace people perfect perhaps period person personal phone photo pick picture piece place plan
plane plant plate play please pleasure pocket point police polite poor popular possible post power
practice prefer prepare present president pretty price print private probably problem produce
program project promise proud public pull purpose push put quality quarter question quick quickly
quiet quite race radio rain raise rather reach read ready real realise really reason receive
recently recipe record relationship relax remember rent repair repeat reply report rest restaurant
result return rich ride right ring rise river road rock roof room round rule run sad safe sale salt
same sand save say scared school science score screen sea search season seat second secret see
seem sell send sense sentence separate serious serve service seven several shape share sharp she
ship shirt shoe shoes shop short should shoulder shout show shower sick side sign silent similar
simple since sing single sister sit situation six size skill skin sky sleep slow slowly small smell
smile smoke snow social society soft soldier solution some someone something sometimes son song
soon sorry sort sound south space speak special spend spring square stage stairs stand star start
state station stay steal step still stomach stone stop store story straight strange street stress
strong student study stuff stupid style subject success such suddenly suggest suit summer sun
support suppose sure surprise sweet swim system table take talk tall taste tax teach team
technology telephone television tell temperature ten terrible test thank that their them themselves
then theory there therefore these thing think third thirty this those thought thousand three through
throw ticket time tired today together toilet tomorrow tonight too tooth top total touch tour
towards town traffic train training translate travel treat tree trip trouble true trust truth try
turn twelve twenty twice two type uncle under understand university until upset use useful usual
usually vacation value vegetable vegetables vegetarian very view village visit voice wait wake walk
wall want war warm wash watch water way weak wear weather website wedding week weekend weight
welcome well west wet what wheel when where whether which while white who whole whose why wide wife
will win wind window winter wish with within without woman women wonder wonderful wood word work
worker world worry worse worst would write writer wrong yard year yellow yes yesterday yet you young
your yourself allergy asked bought brought called came didn did does doesn doing done drove eating
ended felt found gave getting gets goes going got had happened has have having heard helped
himself isn kept knew known left liked likes lived living looked looking lost loved loves made
making meant meeting meetings met moved moving needed needs paid planning played playing plans
promised reading said saw says seen sent showed sleeping slept sold spent spoke started stayed
stopped taken taking talked teaching things thinking told took tried trying turned used using
visited waiting walking wanted wants was watched watching wasn wearing went were won worked working
works writing written wrote years days hours minutes weeks months times friends parents children
""".strip()

COMMON_WORDS: tuple[str, ...] = tuple(sorted(set(_COMMON.split())))
