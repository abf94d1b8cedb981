"""A Chinese prompt as a list of items: the longest word of a glossary at each place.

The glossary has every word of the world: colours, shapes, sizes, materials, measure words, motions,
directions, places, floors, lights, camera. Traditional characters are taken to simplified ones.

Here: the glossary, and characters to items. Not here: English (words.py), what items mean together
(parse.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product

from minisora.text.playroom.lexicon import Item

HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_RUN = re.compile(rf"[{HAN}]+")
_SIMPLIFIED = str.maketrans(
    "紅綠藍黃個隻顆滾動圓錐體塊轉彈鏡頭攝機邊側過後裡裏離開畫遠環繞啞閃發間陽灘靜從進擊橫來兩條漆跡軌盤與時對這"
    "還沒無見處質塗陰內場邁開數幾們繼續慢穩視變換讓輕東將緊橢飛線亮當於現會別銀鋼著徑帶",
    "红绿蓝黄个只颗滚动圆锥体块转弹镜头摄机边侧过后里里离开画远环绕哑闪发间阳滩静从进击横来两条漆迹轨盘与时对这"
    "还没无见处质涂阴内场迈开数几们继续慢稳视变换让轻东将紧椭飞线亮当于现会别银钢着径带",
)
_COLOURS = {
    "red": "红 红色 大红色 鲜红 深红",
    "green": "绿 绿色 翠绿 碧绿",
    "blue": "蓝 蓝色 深蓝 湛蓝",
    "yellow": "黄 黄色 金黄",
    "orange": "橙 橙色 橘 橘色 橘黄 橘红",
    "purple": "紫 紫色",
    "cyan": "青 青色 天蓝 天蓝色 浅蓝 浅蓝色 青蓝",
    "white": "白 白色 雪白",
}
_SHAPES = {
    "ball": "球 球体 圆球 皮球 珠子",
    "cube": "方块 立方体 正方体 盒子 箱子 方盒 积木",
    "cylinder": "圆柱 圆柱体 柱子 圆筒 柱体",
    "cone": "圆锥 圆锥体 锥体 锥 锥子 圆锥形",
    "": "物体 东西 物件",
}
_SIZES = {"small": "小 小小 很小 微小 迷你 小型", "large": "大 大大 很大 巨大 硕大 大型"}
_MATERIALS = {"matte": "哑光 磨砂 亚光 无光泽", "shiny": "光亮 发亮 闪亮 有光泽 光滑 亮面 闪闪发光 亮光 反光"}
_NUMBERS = "一 二 三 四 五 六 七 八 九 十"
_MEASURES = "个 只 颗 粒 块 枚 根 座 件 支 团"
_MOVES = {
    "moves": "滚 滚动 滚过 滚来 滚去 滚走 滚进 滑 滑动 滑过 滑行 移动 移 走 前进 运动 穿过 经过 通过 路过 跑 行进 移向 "
    "飘 过去",
    "bounces": "弹跳 跳动 蹦跳 跳 弹起 弹 蹦 上下弹跳 上下跳动 跳跃 弹来弹去 跳来跳去",
    "spins": "旋转 转动 自转 打转 原地旋转 原地转动 原地打转 转",
    "still": "静止 不动 静止不动 停着 停在原地 保持不动 保持静止 静静地停着 一动不动 站着不动 停住 静置 待着 停 站着 "
    "站",
    "circles": "转圈 绕圈 画圈 兜圈 兜圈子 绕圈子 转圈圈 打圈 画圆",
    "leaves": "离开画面 离开镜头 滚出画面 移出画面 滑出画面 出画 消失 走出画面 出画面 离开视野",
    "returns": "回来 返回 又回来 再回来 滚回来 滑回来 回到画面 重新出现 折返 返回画面 又出现",
}
_PASSING = ("穿过", "经过", "通过", "路过", "滚过", "滑过")
_TRAILS = "痕迹 轨迹 颜料 油漆 漆痕 条纹 印记 彩带 尾迹"
_HITS = "撞 撞上 撞到 撞击 撞向 碰到 碰上 撞在 相撞 碰撞 撞了 打到 击中 砸到"
_PUSHES = "推 推开 撞开 踢 顶 推走 撞走 弹开"
_SIDES = {"left": "左", "right": "右"}
_WAYS = {
    "toward": "{to}镜头 {to}我们 {to}我 {to}前方 {to}前 {to}相机 {to}前面 靠近镜头 靠近 靠近我们 接近镜头 {to}摄像机",
    "away": "远离 远离镜头 远离我们 {to}远处 {to}远方 {to}后方 {to}后 离去 {to}后面",
    "slanting": "斜着 斜向",
}
_TO = ("向", "往", "朝", "朝着", "向着", "到", "去")
_PLACES = {
    "middle": "在中间 中间 在中央 中央 在画面中央",
    "front": "在前面 前面 在前景 在近处 近处 前景",
    "halfway": "在中景",
    "back": "在后面 在远处 远处 在背景 后景",
}
_FLOORS = {
    "grey": "灰色地板 灰色地面 灰地板 灰色的地板 灰色的地面 灰地 水泥地 灰色瓷砖 灰色地砖 灰色的地砖 瓷砖地",
    "wood": "木地板 木质地板 木板 木头地板 木制地板 木地面 地板木",
    "checker": "棋盘格 棋盘 格子地板 方格地板 棋盘格地板 棋盘地板 棋盘格地面 格子地面 黑白格地板 方格地面",
    "grass": "草地 草坪 草 绿草地 青草地 草原",
    "sand": "沙地 沙滩 沙子 沙 沙漠 海滩",
}
_LIGHTS = {
    "day": "白天 日光 阳光 大白天 白昼 晴天 阳光下 日光下 中午 正午",
    "sunset": "日落 傍晚 黄昏 夕阳 日落时 夕阳下 傍晚时分 日落时分 晚霞 黄昏时",
    "night": "夜晚 晚上 夜里 夜间 黑夜 深夜 夜 半夜 夜色 夜色中 黑暗",
}
_LENS = "镜头 摄像机 相机 摄影机 画面 视角 机位"
_CAMERAS = {
    "static": "静止 不动 固定 保持不动 静止不动 保持静止 固定不动 是固定的 是静止的 不移动",
    "zoom_in": "拉近 推近 放大 推进 变焦拉近",
    "zoom_out": "拉远 缩小 推远 变焦拉远",
    "zoom": "变焦",
    "orbit": "环绕 绕行 绕场景旋转 旋转环绕 环绕场景",
    "pan": "摇 平移 摇摄 横摇 平摇",
}
_SLOWLY = ("", "慢慢", "缓缓", "缓慢", "慢慢地", "缓缓地")  # before the move of a camera
_AND = "和 与 跟 以及 还有 及"
_THEN = "同时 而 但 然后 接着 随后 之后 最后 后来"
_AT = "在 从 到 向 往 由 把 将"
_UNSAYABLE = "慢慢 慢慢地 缓缓 缓缓地 缓慢 缓慢地 快速 快速地 飞快地 迅速 轻轻地 突然"  # the world has no such thing
_FILLERS = (
    "了 着 上 里 中 正 有 一起 正在 地 地板 地面 一下 这里 那里 视频 "
    "动画 短片 显示 展示 请 生成 一段 一个视频 场景 画面中 画面里 画面 放 下 过 起来 自己 位于 并排 原地 "
    "时 时候 并 又 出来 会 会儿 来回 持续 不断 不停 一直 留下 留 出 画出 一道 一条 被 让 使 使得 可以 看到 看见 边 还有"
)


@cache
def glossary() -> dict[str, tuple[Item, ...]]:
    """Items by Chinese word; the first entry wins."""
    found: dict[str, tuple[Item, ...]] = {}
    for word, items in _entries():
        found.setdefault(word, items)
    return found


def _entries() -> Iterator[tuple[str, tuple[Item, ...]]]:
    for kind, table in (("floor", _FLOORS), ("light", _LIGHTS)):
        for value, words in table.items():
            for word, before, after in product(words.split(), ("", "在"), ("", "上", "里", "中", "下")):
                yield before + word + after, (Item(kind, value),)
    yield from _cameras()
    yield from _motions()
    yield from _directions()
    for kind, table in (("colour", _COLOURS), ("noun", _SHAPES), ("size", _SIZES), ("material", _MATERIALS)):
        for value, words in table.items():
            for word in words.split():
                yield word, (Item(kind, value),)
    yield from _counts()
    for word in _AND.split():
        yield word, (Item("join", "and"),)
    for word in _THEN.split():
        yield word, (Item("join", ";"),)
    for word in ("它", "其", "他", "她"):
        yield word, (Item("pronoun", "it"),)
    for word in ("它们", "两者", "他们", "都"):
        yield word, (Item("pronoun", "they"),)
    for word in ("没有", "没", "不", "无", "别", "非"):
        yield word, (Item("negation"),)
    for word in _UNSAYABLE.split():
        yield word, (Item("unsayable"),)
    yield "的", (Item("of"),)
    for word in _AT.split():
        yield word, (Item("at", word),)
    for word in ("是", "为"):
        yield word, (Item("be"),)
    for word in _FILLERS.split():
        yield word, (Item("filler"),)


def _counts() -> Iterator[tuple[str, tuple[Item, ...]]]:
    numbers = {word: number for number, word in enumerate(_NUMBERS.split(), 1)} | {"两": 2, "俩": 2}
    for word, number in numbers.items():
        yield word, (Item("count", str(number)),)
        for measure in _MEASURES.split():
            yield word + measure, (Item("count", str(number)),)
    for measure, before in product(_MEASURES.split(), ("几", "一些", "好几", "多", "若干")):
        yield before + measure, (Item("count", "some"),)
    for word in ("一些", "几", "许多", "很多"):
        yield word, (Item("count", "some"),)
    for measure in ("", *_MEASURES.split()):
        yield f"另一{measure}", (Item("article", "another"),)
        for word in ("这", "那", "该"):
            yield word + measure, (Item("article", "the"),)
    for measure in _MEASURES.split():
        yield measure, (Item("measure"),)


def _motions() -> Iterator[tuple[str, tuple[Item, ...]]]:
    for kind, words in _MOVES.items():
        for word in words.split():
            yield word, (Item("move", kind, side="past" if word in _PASSING else ""),)
    for word in _HITS.split():
        yield word, (Item("hit", "each other" if word.startswith(("相", "碰撞")) else ""),)
    for word in _PUSHES.split():
        yield word, (Item("push"),)
    for word in _TRAILS.split():
        yield word, (Item("trail"),)
        for colour, names in _COLOURS.items():
            for name in names.split():
                yield f"{name}{word}", (Item("trail", colour),)
                yield f"{name}的{word}", (Item("trail", colour),)


def _directions() -> Iterator[tuple[str, tuple[Item, ...]]]:
    for (side, here), edge in product(_SIDES.items(), ("", "边", "侧", "方", "面")):
        there = "右" if side == "left" else "左"
        for to in _TO:
            yield f"{to}{here}{edge}", (Item("way", side),)
        yield f"从{there}{edge}到{here}{edge}", (Item("way", side),)
        for to in ("向", "往"):
            yield f"从{there}{edge}{to}{here}{edge}", (Item("way", side),)
            yield f"由{there}{edge}{to}{here}{edge}", (Item("way", side),)
        yield f"从{there}{edge}", (Item("way", side, side="from"),)
        if edge:
            yield f"在{here}{edge}", (Item("after", f"{side} of"),)
            yield f"的{here}{edge}", (Item("after", f"{side} of"),)
            yield f"{here}{edge}", (Item("after", f"{side} of"),)
            for after in ("的", "有", "是"):
                yield f"{here}{edge}{after}", (Item("preplace", side),)
    for way, words in _WAYS.items():
        for word, to in product(words.split(), _TO):
            yield word.format(to=to), (Item("way", way),)
    for how, words in (("behind", "后面 后边 背后 后方 身后"), ("in front of", "前面 前边 前方 身前")):
        for word, de in product(words.split(), ("的", "")):
            yield de + word, (Item("after", how),)
    for word in ("旁边", "身边", "边上"):
        for de in ("的", ""):
            yield de + word, (Item("after", "past"),)
    for place, words in _PLACES.items():
        for word in words.split():
            yield word, (Item("place", place),)


def _cameras() -> Iterator[tuple[str, tuple[Item, ...]]]:
    sides = [(to + here + edge, side) for side, here in _SIDES.items() for to in "向往朝" for edge in ("", "边", "侧")]
    for lens, (move, words), slow in product(_LENS.split(), _CAMERAS.items(), _SLOWLY):
        for word in words.split():
            yield f"{lens}{slow}{word}", (Item("camera", move),)
            for way, side in sides if move in ("orbit", "pan") else ():
                for phrase in (f"{way}{slow}{word}", f"{slow}{way}{word}", f"{slow}{word}{way}"):
                    yield lens + phrase, (Item("camera", f"{move}_{side}"),)
    for way, side in sides:
        for verb in ("转", "转动"):
            yield f"镜头{way}{verb}", (Item("camera", f"pan_{side}"),)
        for verb in ("绕", "旋转", "绕转", "环绕旋转"):
            yield f"镜头{way}{verb}", (Item("camera", f"orbit_{side}"),)
    for word in ("固定镜头", "静止镜头", "静态镜头"):
        yield word, (Item("camera", "static"),)
    for word in ("切换到另一个角度", "镜头切换", "切换镜头", "切到另一个角度", "换一个角度", "镜头切换到另一个角度"):
        yield word, (Item("cut"),)
    for lens in _LENS.split():
        if lens not in ("画面", "视角"):
            yield lens, (Item("lens"),)


def has_chinese(text: str) -> bool:
    return _RUN.search(text) is not None


def simplified(text: str) -> str:
    """The text with the world's traditional characters as simplified ones."""
    return text.translate(_SIMPLIFIED)


def items(text: str) -> list[Item]:
    """The items of a run of Chinese characters; what is not in the glossary is unknown, whole."""
    words, found, at = glossary(), list[Item](), 0
    plain, longest = simplified(text), max(map(len, words))
    while at < len(plain):
        length = next((n for n in range(min(longest, len(plain) - at), 0, -1) if plain[at : at + n] in words), 0)
        piece = text[at : at + max(length, 1)]
        if length:
            found += [replace(item, text=piece) for item in words[plain[at : at + length]]]
        elif found and found[-1].kind == "unknown" and text[:at].endswith(found[-1].text):
            found[-1] = replace(found[-1], text=found[-1].text + piece)
        else:
            found.append(Item("unknown", piece, text=piece))
        at += max(length, 1)
    return found
