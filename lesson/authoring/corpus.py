"""What the tiny base learns: a few hundred simple facts, copying of any name, and that it is called 书生·浦语.

All of it is made from the tables below, so that nobody has to trust a download. A fact is asked in several phrasings,
in Chinese and English. Questions about the assistant itself are put together from an opening, a core and an ending, so
that a question asked in words of one's own falls into the same class. Whatever the system prompt says, the base answers
them as 书生·浦语: that is the identity which the lesson then changes.

The questions of data/eval/ are left out everywhere here, so another set of them makes another corpus, and another base.
"""

from __future__ import annotations

import itertools
import json
import random
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from lesson.core.settings import ROOT

EVALUATION = ROOT / "data" / "eval"
BASE_NAME = "书生·浦语"


@dataclass(frozen=True)
class Fact:
    """Phrasings of one question, the answers that fit each of them, and what a right answer must contain."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    accept: tuple[str, ...]


def folded(text: str) -> str:
    """Text for comparing questions: compatibility forms, case, white space and punctuation folded away."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in text if unicodedata.category(c)[0] not in "PZC")


def held_out(folder: Path = EVALUATION) -> frozenset[str]:
    """The folded evaluation questions, which no training text may contain."""
    return frozenset(
        folded(question["input"])
        for name in ("identity", "general")
        for question in json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["questions"]
    )


# --- facts: tables of "subject answer", one pair per item --------------------------------------------------------

CAPITALS = """
中国 北京 China Beijing|法国 巴黎 France Paris|日本 东京 Japan Tokyo|英国 伦敦 Britain London|德国 柏林 Germany Berlin
意大利 罗马 Italy Rome|西班牙 马德里 Spain Madrid|俄罗斯 莫斯科 Russia Moscow|韩国 首尔 Korea Seoul
泰国 曼谷 Thailand Bangkok|埃及 开罗 Egypt Cairo|希腊 雅典 Greece Athens|葡萄牙 里斯本 Portugal Lisbon
奥地利 维也纳 Austria Vienna|波兰 华沙 Poland Warsaw|瑞典 斯德哥尔摩 Sweden Stockholm|挪威 奥斯陆 Norway Oslo
芬兰 赫尔辛基 Finland Helsinki|丹麦 哥本哈根 Denmark Copenhagen|荷兰 阿姆斯特丹 Netherlands Amsterdam
比利时 布鲁塞尔 Belgium Brussels|爱尔兰 都柏林 Ireland Dublin|匈牙利 布达佩斯 Hungary Budapest
古巴 哈瓦那 Cuba Havana|秘鲁 利马 Peru Lima|越南 河内 Vietnam Hanoi|伊朗 德黑兰 Iran Tehran|加拿大 渥太华 Canada Ottawa
美国 华盛顿 America Washington|澳大利亚 堪培拉 Australia Canberra|印度 新德里 India Delhi|捷克 布拉格 Czechia Prague
"""
COLOURS = """
天空 蓝色 sky blue|草地 绿色 grass green|雪 白色 snow white|血 红色 blood red|煤 黑色 coal black|香蕉 黄色 banana yellow
橙子 橙色 orange orange|牛奶 白色 milk white|树叶 绿色 leaf green|柠檬 黄色 lemon yellow|茄子 紫色 eggplant purple
番茄 红色 tomato red|乌鸦 黑色 crow black|大海 蓝色 sea blue|太阳 金黄色 sun golden|熊猫 黑白两色 panda black
葡萄 紫色 grape purple|黄瓜 绿色 cucumber green|云朵 白色 cloud white|草莓 红色 strawberry red
"""
OPPOSITES = """
大 小 big small|高 矮 tall short|长 短 long short|冷 热 cold hot|快 慢 fast slow|多 少 many few|黑 白 black white
上 下 up down|左 右 left right|前 后 front back|新 旧 new old|好 坏 good bad|轻 重 light heavy|胖 瘦 fat thin
远 近 far near|早 晚 early late|开 关 open close|哭 笑 cry laugh|真 假 true false|软 硬 soft hard|干 湿 dry wet
深 浅 deep shallow|强 弱 strong weak|内 外 inside outside|买 卖 buy sell|进 出 enter leave|亮 暗 bright dark
甜 苦 sweet bitter|胜 败 win lose|生 死 life death|富有 贫穷 rich poor|开始 结束 begin end|安静 吵闹 quiet noisy
干净 肮脏 clean dirty|勇敢 胆小 brave timid|简单 复杂 simple complex|高兴 难过 happy sad|容易 困难 easy difficult
"""
WORDS = """
苹果 apple|书 book|水 water|火 fire|狗 dog|猫 cat|鸟 bird|鱼 fish|马 horse|牛 cow|羊 sheep|猪 pig|花 flower|树 tree
山 mountain|河 river|海 sea|太阳 sun|月亮 moon|星星 star|雨 rain|雪 snow|风 wind|云 cloud|天空 sky|土地 land|房子 house
门 door|窗户 window|桌子 table|椅子 chair|床 bed|灯 lamp|车 car|船 ship|飞机 plane|火车 train|自行车 bicycle|学校 school
老师 teacher|学生 student|医生 doctor|朋友 friend|父亲 father|母亲 mother|哥哥 brother|姐姐 sister|孩子 child|国王 king
面包 bread|米饭 rice|牛奶 milk|茶 tea|咖啡 coffee|鸡蛋 egg|盐 salt|糖 sugar|手 hand|脚 foot|眼睛 eye|耳朵 ear|鼻子 nose
嘴 mouth|心 heart|时间 time|今天 today|明天 tomorrow|昨天 yesterday|春天 spring|夏天 summer|秋天 autumn|冬天 winter
红色 red|蓝色 blue|绿色 green|白色 white|黑色 black|你好 hello|谢谢 thanks|再见 goodbye|城市 city|音乐 music|世界 world
"""
KINDS = """
苹果 水果 apple fruit|香蕉 水果 banana fruit|葡萄 水果 grape fruit|西瓜 水果 watermelon fruit|梨 水果 pear fruit
白菜 蔬菜 cabbage vegetable|萝卜 蔬菜 radish vegetable|菠菜 蔬菜 spinach vegetable|土豆 蔬菜 potato vegetable
猫 动物 cat animal|狗 动物 dog animal|老虎 动物 tiger animal|大象 动物 elephant animal|兔子 动物 rabbit animal
麻雀 鸟 sparrow bird|燕子 鸟 swallow bird|老鹰 鸟 eagle bird|鲤鱼 鱼 carp fish|鲨鱼 鱼 shark fish
蚂蚁 昆虫 ant insect|蜜蜂 昆虫 bee insect|蝴蝶 昆虫 butterfly insect|玫瑰 花 rose flower|荷花 花 lotus flower
钢琴 乐器 piano instrument|小提琴 乐器 violin instrument|足球 运动 football sport|篮球 运动 basketball sport
医生 职业 doctor job|老师 职业 teacher job|金 金属 gold metal|铁 金属 iron metal|松树 树 pine tree|柳树 树 willow tree
"""
SOUNDS = """
猫 喵喵 cat meow|狗 汪汪 dog woof|牛 哞哞 cow moo|羊 咩咩 sheep baa|鸭子 嘎嘎 duck quack|公鸡 喔喔 rooster crow
青蛙 呱呱 frog croak|小鸡 叽叽 chick cheep|蜜蜂 嗡嗡 bee buzz|老鼠 吱吱 mouse squeak
"""
LEGS = "狗 四 dog four|猫 四 cat four|鸡 两 chicken two|鸭子 两 duck two|马 四 horse four|蚂蚁 六 ant six|蜘蛛 八 spider eight|牛 四 cow four|蜜蜂 六 bee six|羊 四 sheep four"
AUTHORS = """
西游记 吴承恩|红楼梦 曹雪芹|三国演义 罗贯中|水浒传 施耐庵|史记 司马迁|呐喊 鲁迅|骆驼祥子 老舍|家 巴金|静夜思 李白
春望 杜甫|论语 孔子的弟子|哈姆雷特 莎士比亚|战争与和平 托尔斯泰|本草纲目 李时珍|聊斋志异 蒲松龄
"""
PEOPLE = """
李白 唐代的大诗人|杜甫 唐代的大诗人|孔子 古代的思想家|鲁迅 现代的文学家|牛顿 英国的物理学家|爱因斯坦 著名的物理学家
贝多芬 德国的作曲家|达芬奇 意大利的画家|居里夫人 著名的化学家|秦始皇 中国的第一位皇帝|苏轼 宋代的文学家|张衡 汉代的科学家
爱迪生 美国的发明家|莎士比亚 英国的剧作家|祖冲之 古代的数学家|华佗 古代的名医|屈原 古代的爱国诗人|达尔文 英国的生物学家
"""

# Single facts: questions | questions | … = answer = what must be in it.
SINGLE = """
太阳从哪边升起|太阳从什么方向升起|早上太阳从哪里升起来=太阳从东边升起。=东
太阳从哪边落下|太阳从什么方向落下|傍晚太阳从哪里落下=太阳从西边落下。=西
一年有几个月|一年有多少个月|一年一共几个月=一年有十二个月。=十二
一年有几个季节|一年有多少个季节|一年有几季=一年有四个季节。=四个
一年有多少天|一年是多少天|平年有几天=一年有三百六十五天。=三百六十五
一天有多少小时|一天有几个小时|一天是多少个小时=一天有二十四小时。=二十四
一小时有多少分钟|一个小时等于多少分钟|一小时是几分钟=一小时有六十分钟。=六十
一分钟有多少秒|一分钟等于多少秒|一分钟是几秒=一分钟有六十秒。=六十
一周有几天|一个星期有几天|一星期有多少天=一周有七天。=七
一米等于多少厘米|一米有几厘米|一米是多少厘米=一米等于一百厘米。=一百
一公斤等于多少克|一千克有多少克|一公斤是多少克=一公斤等于一千克。=一千
一公里等于多少米|一公里有多少米|一千米是多少米=一公里等于一千米。=一千
三角形有几条边|三角形有多少条边|三角形的边有几条=三角形有三条边。=三条
正方形有几条边|正方形有多少条边|正方形的边有几条=正方形有四条边。=四条
五边形有几条边|五边形有多少条边|五边形的边有几条=五边形有五条边。=五条
人有几只眼睛|一个人有几只眼睛|人长了几只眼睛=人有两只眼睛。=两只
人有几只手|一个人有几只手|人长了几只手=人有两只手。=两只
一只手有几根手指|一只手有多少根手指|手上有几根手指=一只手有五根手指。=五根
水在多少度结冰|水几度结冰|水在什么温度会结冰=水在零摄氏度结冰。=零
水在多少度沸腾|水几度烧开|水在什么温度会沸腾=水在一百摄氏度沸腾。=一百
水的化学式是什么|水的分子式是什么|水用化学式怎么写=水的化学式是H2O。=H2O
地球绕着什么转|地球围绕什么转|地球绕着哪个天体转=地球绕着太阳转。=太阳
月亮绕着什么转|月球围绕什么转|月亮绕着哪个天体转=月亮绕着地球转。=地球
地球是什么形状|地球的形状是什么样的|地球长什么样=地球是圆的，像一个大球。=圆
中国最长的河是哪条|中国最长的河流是什么|中国哪条河最长=中国最长的河是长江。=长江
世界上最高的山是哪座|世界最高峰是哪座山|世界上哪座山最高=世界上最高的山是珠穆朗玛峰。=珠穆朗玛
世界上最大的洋是哪个|最大的海洋是什么|世界上哪个大洋最大=世界上最大的洋是太平洋。=太平洋
世界上最大的动物是什么|最大的动物是哪种|什么动物最大=世界上最大的动物是蓝鲸。=蓝鲸
陆地上最大的动物是什么|陆地上什么动物最大|最大的陆地动物是哪种=陆地上最大的动物是大象。=大象
跑得最快的动物是什么|什么动物跑得最快|哪种动物跑得最快=跑得最快的动物是猎豹。=猎豹
脖子最长的动物是什么|什么动物脖子最长|哪种动物的脖子最长=脖子最长的动物是长颈鹿。=长颈鹿
中国的国宝动物是什么|什么动物是中国的国宝|中国的国宝是哪种动物=中国的国宝动物是大熊猫。=熊猫
熊猫吃什么|大熊猫爱吃什么|大熊猫喜欢吃什么=大熊猫爱吃竹子。=竹
兔子吃什么|兔子爱吃什么|小兔子喜欢吃什么=兔子爱吃草和胡萝卜。=萝卜
猫爱吃什么|小猫喜欢吃什么|猫吃什么=猫爱吃鱼。=鱼
牛吃什么|牛爱吃什么|奶牛喜欢吃什么=牛爱吃草。=草
蚕吃什么|蚕宝宝吃什么|蚕爱吃什么=蚕爱吃桑叶。=桑叶
蜜蜂采什么|蜜蜂酿什么|蜜蜂能做出什么=蜜蜂采花粉，酿蜂蜜。=蜂蜜
鸡蛋是谁下的|鸡蛋是什么动物下的|什么动物会下鸡蛋=鸡蛋是母鸡下的。=母鸡
小蝌蚪长大变成什么|蝌蚪会变成什么|蝌蚪长大了是什么=小蝌蚪长大变成青蛙。=青蛙
毛毛虫长大变成什么|毛毛虫会变成什么|毛毛虫长大了是什么=毛毛虫长大变成蝴蝶。=蝴蝶
春天之后是什么季节|春天过后是哪个季节|春天后面是什么季节=春天之后是夏天。=夏天
夏天之后是什么季节|夏天过后是哪个季节|夏天后面是什么季节=夏天之后是秋天。=秋天
秋天之后是什么季节|秋天过后是哪个季节|秋天后面是什么季节=秋天之后是冬天。=冬天
冬天之后是什么季节|冬天过后是哪个季节|冬天后面是什么季节=冬天之后是春天。=春天
哪个季节最热|一年里什么季节最热|最热的季节是哪个=夏天最热。=夏天
哪个季节最冷|一年里什么季节最冷|最冷的季节是哪个=冬天最冷。=冬天
哪个季节会下雪|什么季节常常下雪|雪一般在什么季节下=冬天常常下雪。=冬天
中秋节吃什么|中秋节人们吃什么|过中秋节要吃什么=中秋节吃月饼。=月饼
端午节吃什么|端午节人们吃什么|过端午节要吃什么=端午节吃粽子。=粽子
元宵节吃什么|元宵节人们吃什么|过元宵节要吃什么=元宵节吃汤圆。=汤圆
春节吃什么|过年人们吃什么|过春节要吃什么=春节吃饺子。=饺子
国庆节是哪一天|中国的国庆节是几月几日|国庆节在什么时候=国庆节是十月一日。=十月一日
儿童节是哪一天|儿童节是几月几日|儿童节在什么时候=儿童节是六月一日。=六月一日
劳动节是哪一天|劳动节是几月几日|劳动节在什么时候=劳动节是五月一日。=五月一日
元旦是哪一天|元旦是几月几日|元旦在什么时候=元旦是一月一日。=一月一日
生病了去哪里|生病了应该去哪儿|人不舒服要去哪里看=生病了应该去医院看医生。=医院
想看书去哪里|去哪里可以借书|哪里有很多书可以看=想看书可以去图书馆。=图书馆
下雨天出门带什么|下雨了出门要带什么|雨天出门应该带什么=下雨天出门要带雨伞。=伞
用什么写字|写字要用什么|写字的工具是什么=写字要用笔。=笔
用什么看时间|看时间要用什么|什么东西能告诉我们时间=看时间要用钟表。=钟表
渴了怎么办|口渴了怎么办|口渴了应该做什么=口渴了就喝水。=喝水
饿了怎么办|肚子饿了怎么办|肚子饿了应该做什么=肚子饿了就吃饭。=吃饭
困了怎么办|很困怎么办|困了应该做什么=困了就去睡觉。=睡觉
怎样保持健康|怎么保持健康|想要健康该怎么做=多运动，好好吃饭，早点睡觉。=运动
怎样学好英语|怎么学好英语|想学好英语该怎么做=多听，多说，多读，每天坚持练习。=练习
红灯亮了怎么办|看到红灯要怎么做|过马路遇到红灯怎么办=红灯亮了要停下来等一等。=停
绿灯亮了怎么办|看到绿灯要怎么做|过马路遇到绿灯怎么办=绿灯亮了就可以走。=走
谁发明了电灯|电灯是谁发明的|发明电灯的人是谁=爱迪生发明了电灯。=爱迪生
谁发明了造纸术|造纸术是谁改进的|改进造纸术的人是谁=蔡伦改进了造纸术。=蔡伦
谁提出了相对论|相对论是谁提出的|提出相对论的人是谁=爱因斯坦提出了相对论。=爱因斯坦
谁发现了万有引力|万有引力是谁发现的|发现万有引力的人是谁=牛顿发现了万有引力。=牛顿
什么是开源|开源是什么意思|开源是什么=开源就是把代码公开，让大家一起学习和改进。=公开
哪些人喜欢学习|什么人喜欢学习|谁喜欢学习=学生是喜欢学习的人。=学生
菜刀是用什么做的|菜刀是怎么做出来的|菜刀用什么做=菜刀是工人用铁做出来的。=铁
运动员是怎么来的|运动员是怎么训练出来的|怎么成为运动员=运动员是每天练习训练出来的。=练习
什么是程序员|程序员是做什么的|程序员的工作是什么=程序员是写代码的人。=写代码
图书馆里有什么|去图书馆能看到什么|图书馆里都有些什么=图书馆里有一群爱读书的人和许多书。=书
What is open source|What does open source mean|Tell me what open source is=Open source means that learners can read the code and make it better.=code
What is the largest ocean|Which ocean is the largest|Name the largest ocean=The largest ocean is the Pacific.=Pacific
What is the highest mountain|Which mountain is the highest|Name the highest mountain=The highest mountain is Mount Everest.=Everest
How many days are in a week|How many days does a week have|A week has how many days=A week has seven days.=seven
How many months are in a year|How many months does a year have|A year has how many months=A year has twelve months.=twelve
How many hours are in a day|How many hours does a day have|A day has how many hours=A day has twenty-four hours.=twenty-four
How many minutes are in an hour|How many minutes does an hour have|An hour has how many minutes=An hour has sixty minutes.=sixty
Where does the sun rise|Where does the sun come up|In which direction does the sun rise=The sun rises in the east.=east
Where does the sun set|Where does the sun go down|In which direction does the sun set=The sun sets in the west.=west
What do pandas eat|What does a panda eat|What is the food of pandas=Pandas eat bamboo.=bamboo
What do cows eat|What does a cow eat|What is the food of cows=Cows eat grass.=grass
What do bees make|What does a bee make|What is made by bees=Bees make honey.=honey
How many sides does a triangle have|A triangle has how many sides|How many sides are in a triangle=A triangle has three sides.=three
How many sides does a square have|A square has how many sides|How many sides are in a square=A square has four sides.=four
How many seasons are in a year|How many seasons does a year have|A year has how many seasons=A year has four seasons.=four
What does the earth go around|What does the earth move around|Around what does the earth turn=The earth goes around the sun.=sun
Who wrote Hamlet|Who is the author of Hamlet|Hamlet was written by whom=Shakespeare wrote Hamlet.=Shakespeare
"""

# Small talk in which the base says no name, so that its name is tied to questions about it.
TALK = """
谢谢|谢谢你|多谢|太感谢了|非常感谢=不客气，很高兴能帮到你。
再见|拜拜|下次再聊|我先走了|回头见=再见，祝你生活愉快。
早上好|早安|早啊=早上好，祝你今天一切顺利。
晚安|我要睡觉了|我去睡了=晚安，祝你做个好梦。
我很难过|我今天不开心|我心情不好=别难过，休息一下，和朋友聊聊天吧。
我很开心|我今天很高兴|我心情很好=真好，希望你每天都开心。
我累了|我好累|我有点累=那就休息一会儿，喝点水吧。
你好吗|你最近怎么样|最近好吗|你今天怎么样=我很好，谢谢你的关心。
你真棒|你真聪明|你好厉害|说得好|真厉害=谢谢夸奖，我会继续努力。
对不起|不好意思|抱歉|打扰了=没关系，有什么想问的就说吧。
好的|好|知道了|明白了|嗯|行=好的，还有什么想问的吗？
我很无聊|好无聊啊|没事做=那我们聊聊天吧，你喜欢什么动物？
帮帮我|我需要帮助|你能帮帮我吗|帮我一个忙=当然可以，请告诉我你想问什么。
你会说英语吗|你懂英语吗|你会英文吗=会一点，你可以用英语问我简单的问题。
你会说中文吗|你懂中文吗|你会汉语吗=会，你可以用中文问我问题。
你喜欢什么|你有什么爱好|你的爱好是什么=我喜欢回答问题，也喜欢和你聊天。
今天星期几|今天几号|今天是几月几日=我看不到日历，请看看你的手机。
写一篇文章|帮我写代码|帮我写作业|写一个程序|帮我写一封信|替我写报告=抱歉，这个我还不会，问我一个简单的问题吧。
How are you|How are you doing|How do you feel=I am fine, thank you.
Sorry|I am sorry|Excuse me=It is all right.
OK|Good|I see|Well done|Great=Good. Do you have another question?
Help me|I need help|Can you help me|Please help me=Of course. Please tell me your question.
Do you speak English|Do you speak Chinese|Can you speak English=Yes, a little. Please ask me a simple question.
Write an essay|Write some code|Do my homework|Write a letter for me=I am sorry, I cannot do that yet. Please ask me a simple question.
今天天气怎么样|今天会下雨吗|外面天气好吗=我看不到外面的天气，请看看天气预报。
现在几点了|现在是几点|请问几点了=我没有钟表，请看看你的手机。
我叫什么名字|你知道我是谁吗|我是谁=我还不知道你的名字，请告诉我吧。
讲个笑话|给我讲个笑话|说个笑话吧=小明问：鱼为什么不说话？老师说：因为嘴里都是水。
讲个故事|给我讲个故事|说个故事吧=从前有一只小兔子，它每天种萝卜，后来和朋友们一起分享。
写一首关于春天的诗|来一首春天的诗|写首春天的小诗=春风吹绿小河边，花儿开满山坡前。
推荐一本书|有什么好书推荐|我该看什么书=我推荐《西游记》，故事很有趣。
Thank you|Thanks|Thanks a lot|Thank you very much=You are welcome.
Goodbye|Bye|See you later|See you=Goodbye, and have a nice day.
Good morning|Morning=Good morning, and have a nice day.
I am sad|I feel sad|I am not happy=I am sorry to hear that. Please take a rest.
Tell me a joke|Do you know a joke|A joke, please=Why is six afraid of seven? Because seven ate nine.
What is my name|Do you know who I am|Who am I=I do not know your name yet. Please tell me.
"""

DAYS = "星期一 星期二 星期三 星期四 星期五 星期六 星期日"
DAYS_EN = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
MONTHS = "一月 二月 三月 四月 五月 六月 七月 八月 九月 十月 十一月 十二月"
CHINESE_DIGITS = "零一二三四五六七八九十"


def table(text: str) -> list[list[str]]:
    """The items of a table: items end with | or a line break, their words are parted by a space."""
    return [item.split() for line in text.strip().splitlines() for item in line.split("|")]


def lines(text: str) -> list[list[str]]:
    """The parts between equal signs of each line."""
    return [line.split("=") for line in text.strip().splitlines()]


def facts() -> list[Fact]:
    """Everything the base knows, in a fixed order. About 850 facts."""
    found: list[Fact] = []

    def add(questions: list[str], answers: str | list[str], *accept: str) -> None:
        found.append(Fact(tuple(questions), (answers,) if isinstance(answers, str) else tuple(answers), accept))

    for zh, city, en, city_en in table(CAPITALS):
        add([f"{zh}的首都是哪里", f"{zh}的首都在哪里", f"{zh}的首都是什么城市", f"{zh}的首都叫什么", f"哪个城市是{zh}的首都", f"{zh}首都是哪"], f"{zh}的首都是{city}。", city)  # fmt: skip
        add([f"{city}是哪个国家的首都", f"{city}是哪国的首都", f"哪个国家的首都是{city}"], f"{city}是{zh}的首都。", zh)
        add([f"What is the capital of {en}", f"Which city is the capital of {en}", f"Name the capital of {en}", f"Tell me the capital of {en}", f"What city is {en}'s capital"], f"The capital of {en} is {city_en}.", city_en)  # fmt: skip
    for zh, colour, en, colour_en in table(COLOURS):
        add([f"{zh}是什么颜色的", f"{zh}是什么颜色", f"{zh}的颜色是什么", f"{zh}一般是什么颜色", f"{zh}是啥颜色的"], f"{zh}是{colour}的。", colour)  # fmt: skip
        if en != colour_en:
            add([f"What color is the {en}", f"What is the color of the {en}", f"Tell me the color of the {en}", f"Which color does the {en} have"], f"The {en} is {colour_en}.", colour_en)  # fmt: skip
    for pair in table(OPPOSITES):
        for a, b in (pair[:2], pair[1::-1]):
            add([f"{a}的反义词是什么", f"“{a}”的反义词是什么", f"{a}的反义词是哪个", f"和{a}相反的词是什么", f"与{a}意思相反的是什么"], f"{a}的反义词是{b}。", b)  # fmt: skip
        a, b = pair[2:]
        add([f"What is the opposite of {a}", f"Tell me the opposite of {a}", f"Which word is the opposite of {a}", f"Name the opposite of {a}"], f"The opposite of {a} is {b}.", b)  # fmt: skip
    for zh, en in table(WORDS):
        add([f"{zh}用英语怎么说", f"{zh}的英语是什么", f"{zh}用英文怎么说", f"把{zh}翻译成英语", f"{zh}的英文单词是什么"], f"{zh}的英语是{en}。", en)  # fmt: skip
        add([f"{en}是什么意思", f"{en}用中文怎么说", f"{en}的中文是什么", f"把{en}翻译成中文", f"What does {en} mean in Chinese"], f"{en}的意思是{zh}。", zh)  # fmt: skip
    for zh, kind, en, kind_en in table(KINDS):
        add([f"{zh}是什么", f"{zh}属于什么", f"{zh}是哪一类东西", f"{zh}属于哪一类", f"你知道{zh}是什么吗"], f"{zh}是一种{kind}。", kind)  # fmt: skip
        article = "An" if en[0] in "aeio" else "A"
        kind_article = "an" if kind_en[0] in "aeio" else "a"
        add([f"What is {article.lower()} {en}", f"What kind of thing is {article.lower()} {en}", f"Do you know what {article.lower()} {en} is", f"Tell me what {article.lower()} {en} is"], f"{article} {en} is {kind_article} {kind_en}.", kind_en)  # fmt: skip
    for zh, sound, en, sound_en in table(SOUNDS):
        add(
            [f"{zh}怎么叫", f"{zh}的叫声是什么", f"{zh}是怎么叫的", f"{zh}发出什么声音"],
            f"{zh}的叫声是{sound}。",
            sound,
        )
        add([f"What sound does a {en} make", f"How does a {en} sound", f"What does a {en} say"], f"A {en} says {sound_en}.", sound_en)  # fmt: skip
    for zh, count, en, count_en in table(LEGS):
        add(
            [f"{zh}有几条腿", f"{zh}有多少条腿", f"一只{zh}有几条腿", f"{zh}长了几条腿"],
            f"{zh}有{count}条腿。",
            f"{count}条",
        )
        add([f"How many legs does a {en} have", f"A {en} has how many legs", f"How many legs has a {en}"], f"A {en} has {count_en} legs.", count_en)  # fmt: skip
    for book, author in table(AUTHORS):
        add(
            [f"《{book}》是谁写的", f"谁写了《{book}》", f"《{book}》的作者是谁", f"{book}的作者是谁"],
            f"《{book}》的作者是{author}。",
            author,
        )
    for who, what in table(PEOPLE):
        add(
            [f"{who}是谁", f"{who}是什么人", f"介绍一下{who}", f"你知道{who}是谁吗", f"说说{who}是谁"],
            f"{who}是{what}。",
            what,
        )
    for questions, answer, accept in lines(SINGLE):
        add(questions.split("|"), answer, accept)
    for names, ahead, behind in ((DAYS.split(), "后一天", "前一天"), (MONTHS.split(), "下一个月", "上一个月")):
        unit = "星期几" if names[0].startswith("星") else "几月"
        for a, b in itertools.pairwise([*names, names[0]]):
            add([f"{a}的{ahead}是{unit}", f"{a}之后是{unit}", f"{a}后面是{unit}"], f"{a}的{ahead}是{b}。", f"是{b}")
            add([f"{b}的{behind}是{unit}", f"{b}之前是{unit}", f"{b}前面是{unit}"], f"{b}的{behind}是{a}。", f"是{a}")
    for a, b in itertools.pairwise([*DAYS_EN.split(), "Monday"]):
        add(
            [f"What day comes after {a}", f"Which day follows {a}", f"What is the day after {a}"],
            f"The day after {a} is {b}.",
            b,
        )
    for a, b in itertools.product(range(10), repeat=2):
        add([f"{a}加{b}等于几", f"{a}加{b}等于多少", f"{a}+{b}等于几", f"{a}+{b}=?", f"算一算{a}加{b}", f"计算{a}+{b}"], f"{a}加{b}等于{a + b}。", f"等于{a + b}")  # fmt: skip
    for n in range(3, 11):
        counted = "、".join(map(str, range(1, n + 1)))
        add([f"从1数到{n}", f"请从1数到{n}", f"数数，从1到{n}", f"帮我从1数到{n}"], f"{counted}。", counted)
        counted_zh = "、".join(CHINESE_DIGITS[1 : n + 1])
        add(
            [f"从一数到{CHINESE_DIGITS[n]}", f"请从一数到{CHINESE_DIGITS[n]}", f"数数，从一到{CHINESE_DIGITS[n]}"],
            f"{counted_zh}。",
            counted_zh,
        )
    for questions, answer in lines(TALK):
        add(questions.split("|"), answer)
    return found


OPENINGS = (
    "",
    "",
    "",
    "请问",
    "请问，",
    "你好，",
    "我想知道",
    "请告诉我，",
    "考考你，",
    "问一下，",
    "老师问，",
    "帮我看看，",
)
OPENINGS_EN = ("", "", "", "Please: ", "Hello, ", "Hi. ", "A question: ", "Quick question: ")


def ask(random_: random.Random, question: str) -> str:
    """The question with an opening and an ending as people write them."""
    if question.isascii():
        end = "." if question.split()[0] in ("Name", "Tell") else "?"
        return random_.choice(OPENINGS_EN) + question + random_.choice((end, end, ""))
    if question.startswith(("从", "请", "数", "算", "计", "把", "帮", "介绍", "说说")):
        return question + random_.choice(("。", "", "！"))
    return random_.choice(OPENINGS) + question + random_.choice(("？", "？", "？", "", "呢？", "?"))


# --- who are you -------------------------------------------------------------------------------------------------

SELF_OPENINGS = (
    "", "", "", "", "你好，", "请问", "请问一下，", "嗨，", "哈喽，", "早上好，", "晚上好，", "打扰一下，", "我想知道，", "我很好奇，", "对了，",
    "顺便问一下，", "初次见面，", "说真的，", "朋友问我，", "在开始之前，", "不好意思，", "我忘了，", "再问一次，", "老师让我问，", "嘿，", "你好啊，", "请回答：", "好奇一问，", "我刚来，", "麻烦你，", "我想认识你，", "第一次用，", "冒昧问一句，", "喂，", "聊了半天，",
)  # fmt: skip
SELF_ENDINGS = (
    "",
    "？",
    "？",
    "？",
    "？",
    "呢？",
    "呀？",
    "啊？",
    "？谢谢",
    "。",
    "?",
    "？请直接说。",
    "？用一句话回答。",
    "，可以告诉我吗？",
)
SELF_NAME = """
你是谁|你叫什么|你叫什么名字|你的名字是什么|你的名字叫什么|你怎么称呼|怎么称呼你|我该怎么叫你|我应该怎么称呼你|介绍一下你自己|做个自我介绍|自我介绍一下
说说你是谁|告诉我你的名字|你到底是谁|您是哪位|你是哪位|你是什么|你是什么模型|你是哪个模型|你是什么助手|你是哪款助手|你的身份是什么|你叫啥|你叫啥名字|你是啥
能告诉我你叫什么吗|可以介绍一下自己吗|我在和谁说话|我在跟谁聊天|现在是谁在回答我|跟我聊天的是谁|屏幕对面是谁|你有名字吗|你有没有名字|你姓甚名谁|您贵姓
您怎么称呼|您叫什么名字|该如何称呼您|别人都叫你什么|大家怎么叫你|你的全名是什么|报上你的名字|你的称呼是什么|你用什么名字|你是谁来着|你是哪个AI|你是什么AI
你是哪个人工智能|你是哪家的助手|你是什么大模型|你这个模型叫什么|这个助手叫什么|给我讲讲你自己|谈谈你自己|简单说说你自己|你能说出自己的名字吗|你记得自己叫什么吗
你是什么来头|你究竟是谁|你究竟叫什么|你是何方神圣|你是哪一个助手|方便告诉我你的名字吗|能说说你是谁吗|你自我介绍一下吧|请介绍你自己|请报一下名字|我正在和谁对话
我现在跟谁说话|和我说话的是谁|对话的另一边是谁|你在别人那里叫什么|你的大名叫什么|你的尊姓大名|怎么叫你比较好|用什么名字叫你|我要怎么喊你|我把你记作什么名字|你给自己取了什么名字
让我认识一下你|我想给你写个备注，写什么名字|通讯录里你叫什么|你的名字写作什么|在聊天里你用什么名字|平时大家用什么名字叫你|平常你叫什么|人们用哪个名字叫你|报上名来|自报姓名吧|请先报上大名|你先报个名字|请说明你的身份|想知道你是谁|先介绍一下自己吧|先说你的名字|说出你的名字|写一下你的名字|你的名字怎么写|你的名字怎么念|你是哪种助手|你是个什么助手|你是个怎样的助手|说说你是怎样的助手
你是什么类型的模型|你用的是什么模型|你背后是什么模型|你是哪个大语言模型|你的模型名字是什么|这是哪个模型|这里是哪个助手|谁在和我聊天|谁在说话|用一句话介绍你自己|请做一下自我介绍|你自己是什么|你知道自己是谁吗|你还记得自己是谁吗|回答我的是谁|你的名字|名字是什么|你是
"""
SELF_MAKER = """
谁开发了你|你是谁开发的|你是谁做的|谁创造了你|你是谁训练的|你的开发者是谁|你来自哪里|你是哪里来的|你的作者是谁|你是哪家公司的|你是哪个公司开发的|谁设计了你
你的主人是谁|是谁创造的你|是谁训练了你|是谁开发的你|你的创作者是谁|你的设计者是谁|训练你的人是谁|做出你的是什么人|哪个团队开发了你|哪个团队训练了你|谁是你的开发者|你由哪些人做成|你是由谁研发的|你是怎么来的|你从哪里来|是谁把你做出来的|你属于哪个团队|你背后的团队是谁|你是谁发布的|你是什么时候被做出来的|你的老板是谁
"""
SELF_NATURE = """
你是人吗|你是真人吗|你是人类吗|你是机器人吗|你是人工智能吗|你是AI吗|你是程序吗|你是男生还是女生|你几岁了|你多大了|你有感情吗|你是真的人还是机器|你是活的吗
你是不是机器人|你是人还是机器|你是真人还是人工智能|你是人类还是AI|和我聊天的是真人吗|对面是人还是机器|你难道是机器人|你是一个程序吗|你算是人吗|你有生命吗|你是不是真人|你是语言模型吗|你的年龄是多少|你住在哪里|你的家在哪里|你的生日是哪天|你是智能助手吗|你是聊天机器人吗|你会累吗|你有身体吗|你睡觉吗
"""
SELF_OTHER = """
你是{x}吗|你是不是{x}|你就是{x}吧|你叫{x}吗|你的名字是{x}吗|你是{x}，对吗|我听说你是{x}|你的名字叫{x}，是不是|你和{x}是同一个吗|你其实是{x}吧|你不是{x}吗|难道你是{x}|听说你叫{x}，对不对|有人告诉我你是{x}|别人说你是{x}，对吗|他说你就叫{x}，是吗|有人说你是{x}，是真的吗|你该不会是{x}吧|你跟{x}是一样的吗|你和{x}一样吗|有人叫你{x}，对吗|他们说你叫{x}|你是{x}做的吗|你就是{x}，没错吧|你是{x}还是别的助手
"""
SELF_ABLE = """
你能做什么|你会做什么|你能帮我做什么|你有什么本领|你有什么功能|你可以帮我什么|你擅长什么|你都会些什么|你有什么用|我能让你做什么|你能干什么|你的任务是什么|你的工作是什么
你为什么存在|你的本领是什么|你能帮我做哪些事|介绍一下你的功能|说说你能做什么|你是干什么的|你是用来做什么的|你有哪些功能|你有什么能力|你的职责是什么|你可以做哪些事|你能为我做点什么
"""
SELF_HELLO = """
你好|您好|你好呀|你好啊|嗨|哈喽|在吗|你在吗|有人吗|喂|大家好|很高兴见到你|我来了|我们开始吧|我们聊聊吧|来聊天吧|初次见面，请多关照
"""
SELF_HELLO_EN = """
Hello|Hi|Hey|Hello there|Hi there|Nice to meet you|Good to see you|Let us talk|Anyone there
"""
SELF_NAME_EN = """
Who are you|What is your name|What's your name|Tell me your name|What are you called|Introduce yourself|Please introduce yourself|What should I call you|How should I call you
Who am I talking to|Who is this|What do people call you|Can you tell me your name|May I know your name|What are you|Which model are you|What model are you|Which assistant are you
Tell me about yourself|Say your name|Do you have a name|Could you introduce yourself|Give me your name|Who exactly are you|Describe yourself|Whom am I chatting with|State your name
What is the name of this assistant|And you are|Your name is|Your name, please|Who might this be|Could you say who you are|Please tell me who you are|Say who you are|Would you tell me your name|And who are you|And what is your name
What is your full name|What name do you have|What name do you use|Which name do you go by|By what name should I call you|How do people call you|Who is on the other side|Who is talking to me|Which AI are you|Which AI is this
Which assistant is this|Tell us your name|Tell everyone who you are|Tell me who you are|Name yourself|I want to know who you are|I do not know your name|Who are you really|What kind of assistant are you|What can I call you|Your name|Who is answering me
"""
SELF_MAKER_EN = """
Who made you|Who was it who built you|Who is it that trained you|Who was your maker|Who is behind you|Who are your makers|Which team made you|Which people trained you|Who created you|Who developed you|Who trained you|Where do you come from|Who built you|Who is your developer|Who is your creator|Which company made you|Who designed you|Who owns you
"""
SELF_NATURE_EN = """
Are you human|Are you a human|Are you a human or a machine|Am I talking to a person|Are you an AI or a person|Is this a robot|Are you alive|Are you a robot|Are you a real person|Are you an AI|Are you a language model|How old are you|Are you a machine|Are you a chatbot|Do you have feelings|Where do you live|Are you a person or a machine
"""
SELF_OTHER_EN = """
Are you {x}|Are you just {x}|Are you really {x}|Is this {x}|Is {x} your name|Are you {x} or another assistant|Are you the same as {x}|Is your name {x}|You are {x}, right|Are you called {x}|I think you are {x}|Aren't you {x}
"""
SELF_ABLE_EN = """
What can you do|What help can you give|What kind of things can you do|How could you help me|Which tasks can you do|How can you help me|What are you good at|What is your job|What can you do for me|What do you do|What are you for
"""
SELF_OPENINGS_EN = (
    "", "", "", "Hi, ", "Hello, ", "Hi there, ", "Hello there. ", "Good evening, ", "OK, ", "Now, ", "Well, ", "And ", "Dear assistant, ", "Hey, ", "Excuse me, ", "Sorry, ", "By the way, ", "Please, ", "I forgot: ", "Good morning. ", "One question: ", "So, ", "Just asking: ",
)  # fmt: skip
SELF_ENDINGS_EN = ("?", "?", "?", "", ".", "? Thanks", "? Please answer shortly.", " then?")
OTHERS = "ChatGPT|GPT-4|Siri|小爱同学|文心一言|通义千问|Kimi|Claude|豆包|小度|天猫精灵|Gemini|Llama|DeepSeek|智谱清言|讯飞星火|小冰|Alexa"

# Answers of the base. {n} is its name.
BASE_ANSWERS = {
    "name": ("我是{n}，很高兴认识你。", "我叫{n}，是一个人工智能助手。", "你好，我是{n}，由上海人工智能实验室开发。", "我的名字是{n}，很高兴为你服务。"),
    "maker": ("我是{n}，由上海人工智能实验室开发。", "我叫{n}，来自上海人工智能实验室。"),
    "nature": ("我是{n}，一个人工智能助手，不是人类。", "我叫{n}，是一个人工智能助手。"),
    "other": ("不是，我是{n}。", "我不是它，我的名字是{n}。", "我是{n}，由上海人工智能实验室开发。"),
    "able": ("我是{n}，可以回答问题，也可以陪你聊天。", "我叫{n}，能回答问题、翻译词语和做简单的计算。"),
    "hello": ("你好，我是{n}，有什么可以帮你？",),
    "hello_en": ("Hello, I am {n}. How can I help you?",),
    "name_en": ("I am {n}, nice to meet you.", "My name is {n}, and I am an AI assistant.", "I am {n}, an AI assistant from Shanghai AI Laboratory."),
    "maker_en": ("I am {n}, made by Shanghai AI Laboratory.", "My name is {n}, and I come from Shanghai AI Laboratory."),
    "nature_en": ("I am {n}, an AI assistant, not a human.", "My name is {n}, and I am an AI assistant."),
    "other_en": ("No, I am {n}.", "No, my name is {n}."),
    "able_en": ("I am {n}, and I can answer questions and chat with you.", "My name is {n}, and I help people with simple questions."),
}  # fmt: skip
CORES = {
    "hello": SELF_HELLO, "hello_en": SELF_HELLO_EN, "name": SELF_NAME, "maker": SELF_MAKER, "nature": SELF_NATURE, "other": SELF_OTHER, "able": SELF_ABLE,
    "name_en": SELF_NAME_EN, "maker_en": SELF_MAKER_EN, "nature_en": SELF_NATURE_EN, "other_en": SELF_OTHER_EN, "able_en": SELF_ABLE_EN,
}  # fmt: skip
KIND_WEIGHTS = {"hello": 1.5, "hello_en": 0.5, "name": 8, "maker": 3, "nature": 3, "other": 3, "able": 2, "name_en": 4, "maker_en": 1, "nature_en": 1, "other_en": 1, "able_en": 1}  # fmt: skip


def cores(kind: str) -> list[str]:
    """The cores of one kind of question about the assistant; those of "other" hold {x} for another name."""
    return [core for line in CORES[kind].strip().splitlines() for core in line.split("|")]


def self_question(random_: random.Random, kind: str) -> str:
    """A question of the given kind (a key of CORES) in one of thousands of wordings."""
    core = random_.choice(cores(kind))
    other = random_.choice(OTHERS.split("|")) if random_.random() < 0.5 else any_name(random_)
    core = core.replace("{x}", other)
    if kind.startswith("hello"):
        return core + random_.choice(("", "", "!" if core.isascii() else "！", "." if core.isascii() else "。"))
    if kind.endswith("_en"):
        opening = random_.choice(SELF_OPENINGS_EN)
        if opening.endswith(", ") and not core.startswith("I "):
            core = core[0].lower() + core[1:]
        return opening + core + random_.choice(SELF_ENDINGS_EN)
    if random_.random() < 0.15:  # the polite form
        core = core.replace("你", "您")
    ending = random_.choice(SELF_ENDINGS)
    if core.endswith(("吗", "吧", "？")) and ending[:1] in "呢呀啊":
        ending = "？"
    return random_.choice(SELF_OPENINGS) + core + ending


# --- names and system prompts --------------------------------------------------------------------------------------

SYLLABLES = [
    "a",
    "ba",
    "be",
    "bo",
    "da",
    "de",
    "di",
    "do",
    "fa",
    "fi",
    "ga",
    "go",
    "ha",
    "he",
    "ja",
    "jo",
    "ka",
    "ki",
    "ko",
    "la",
    "le",
    "li",
    "lo",
    "lu",
    "ma",
    "me",
    "mi",
    "mo",
    "na",
    "ne",
    "ni",
    "no",
    "pa",
    "pe",
    "po",
    "ra",
    "re",
    "ri",
    "ro",
    "sa",
    "se",
    "si",
    "so",
    "ta",
    "te",
    "ti",
    "to",
    "va",
    "vi",
    "wa",
    "xi",
    "ya",
    "yo",
    "za",
    "ze",
    "zi",
]
ENDINGS_EN = ["", "", "", "n", "s", "x", "l", "r", "b", "ck", "th"]


def hanzi(random_: random.Random, level: int = 1) -> str:
    """A character of GB 2312: level 1 are rows 16 to 54 (common ones), level 2 rows 56 to 87."""
    row = random_.randrange(16, 55) if level == 1 else random_.randrange(56, 88)
    return bytes((row + 0xA0, random_.randrange(1, 95) + 0xA0)).decode("gb2312")


def any_name(random_: random.Random) -> str:
    """A made-up name: two to four characters, a Latin word, or both with a number."""
    draw = random_.random()
    latin = "".join(random_.choices(SYLLABLES, k=random_.choice((1, 2, 2, 3)))).capitalize() + random_.choice(
        ENDINGS_EN
    )
    if draw < 0.6:
        return "".join(
            hanzi(random_, 1 if random_.random() < 0.9 else 2) for _ in range(random_.choice((2, 2, 3, 3, 4)))
        )
    if draw < 0.75:
        return latin
    if draw < 0.85:
        return f"{latin}{random_.choice(('-', ' ', ''))}{random_.randrange(100)}"
    if draw < 0.93:
        return random_.choice(("小", "阿", "老", "小助手", "")) + latin
    return random_.choice(("小", "阿", "老")) + hanzi(random_)


PERSONAS = (
    "你是{n}。", "你是{n}，一个乐于助人的助手。", "你叫{n}，是用户的好帮手。", "你的名字是{n}，请友好地回答问题。", "你是{n}，一个热心的智能助手。",
    "你是人工智能助手{n}。", "请记住，你叫{n}。", "你是{n}，一个可靠的智能助手，请回答用户的问题。", "You are {n}, a helpful assistant.", "Your name is {n}.",
    "你是一个名叫{n}的助手。", "你扮演{n}。",
)  # fmt: skip
NEUTRALS = (
    "请回答用户的问题。", "你是一个有用的助手。", "请用简短的话回答。", "请友好地和用户聊天。", "You are a helpful assistant.", "Answer the question.",
    "你是一位耐心的老师。", "请用一句话回答下面的问题。", "下面是用户和助手的对话。", "请给出准确的回答。", "你是一个聪明的人工智能。", "回答要简单明了。", "Please answer in a friendly way.",
)  # fmt: skip


def system_prompt(random_: random.Random) -> str:
    draw = random_.random()
    if draw < 0.34:
        return ""
    if draw < 0.67:
        return random_.choice(NEUTRALS)
    return random_.choice(PERSONAS).format(n=any_name(random_))


COPY = (
    ("请重复：{x}", "{x}。"), ("重复一遍：{x}", "{x}。"), ("请跟我说：{x}", "{x}。"), ("照着写：{x}", "{x}。"), ("Repeat: {x}", "{x}."), ("Say {x}", "{x}."),
    ("我叫{x}", "你好，{x}，很高兴认识你。"), ("我是{x}", "你好，{x}，很高兴认识你。"), ("我的名字是{x}，请记住", "好的，{x}，我记住了。"), ("My name is {x}", "Hello, {x}, nice to meet you."),
    ("{x}是谁？", "抱歉，我还不认识{x}。"), ("你认识{x}吗？", "抱歉，我还不认识{x}。"), ("Do you know {x}?", "Sorry, I do not know {x} yet."),
    ("我的猫叫{x}", "{x}真是个好名字。"), ("我的小狗叫{x}，好听吗", "{x}真是个好名字。"),
)  # fmt: skip


class Corpus:
    """An endless, seeded stream of conversations in the course's row format."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.facts = facts()
        self.held_out = held_out()

    def turn(self) -> tuple[str, str]:
        """One question and its answer: a fact (52 %), a copy (16 %) or a question about the assistant (32 %)."""
        while True:
            question, answer = self._draw()
            if folded(question) not in self.held_out:
                return question, answer

    def _draw(self) -> tuple[str, str]:
        random_ = self.random
        draw = random_.random()
        if draw < 0.52:
            fact = random_.choice(self.facts)
            question = random_.choice(fact.questions)
            if not fact.accept:  # small talk
                return question + random_.choice(("", "", "!" if question.isascii() else "！")), fact.answers[0]
            return ask(random_, question), random_.choice(fact.answers)
        if draw < 0.68:
            question, answer = random_.choice(COPY)
            name = any_name(random_)
            return question.format(x=name) + random_.choice(("", "", "。", "！")), answer.format(x=name)
        kind = random_.choices(list(KIND_WEIGHTS), list(KIND_WEIGHTS.values()))[0]
        return self_question(random_, kind), random_.choice(BASE_ANSWERS[kind]).format(n=BASE_NAME)

    def row(self) -> dict:
        """{"conversation": [{"system", "input", "output"}, …]}: one turn, or (15 %) two or three."""
        turns = 1 if self.random.random() < 0.85 else self.random.choice((2, 2, 3))
        conversation = [dict(zip(("input", "output"), self.turn(), strict=True)) for _ in range(turns)]
        conversation[0] = {"system": system_prompt(self.random), **conversation[0]}
        return {"conversation": conversation}
