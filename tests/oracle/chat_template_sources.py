"""Chat templates that use what published ones use, in words of their own (for chat_templates.py)."""

BOS = {
    "llama3": "<|begin_of_text|>",
    "llama3.1": "<|begin_of_text|>",
    "llama3.2": "<|begin_of_text|>",
    "deepseek-r1": "<｜begin▁of▁sentence｜>",
    "deepseek-r1-distill": "<｜begin▁of▁sentence｜>",
    "deepseek-r1-0528": "<｜begin▁of▁sentence｜>",
    "json-tools": "<|begin_of_text|>",
    "marked-tools": "<｜begin▁of▁sentence｜>",
    "bracketed": "<s>",
}
EOS = {"bracketed": "</s>"}
# Of published templates, by a mark in their sources.
BOS_BY_MARK = {
    "<｜User｜>": "<｜begin▁of▁sentence｜>", "<|start_header_id|>": "<|begin_of_text|>", "[INST]": "<s>"}

LLAMA3_DATED = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'
        + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

DEEPSEEK_LAST_SYSTEM = """{%- for message in messages %}{%- if message['role'] == 'system' %}
{%- set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}"""

DEEPSEEK_ALL_SYSTEMS = """{%- for message in messages %}{%- if message['role'] == 'system' %}
{%- if ns.is_first_sp %}
{%- set ns.system_prompt = ns.system_prompt + message['content'] %}
{%- set ns.is_first_sp = false %}{%- else %}
{%- set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}
{%- endif %}{%- endif %}{%- endfor %}"""

DEEPSEEK_TURNS = """{{- bos_token }}{{- ns.system_prompt }}{%- for message in messages %}
{%- if message['role'] == 'user' %}{{- '<｜User｜>' + message['content'] }}{%- endif %}
{%- if message['role'] == 'assistant' %}{%- set content = message['content'] %}
{%- if '</think>' in content %}{%- set content = content.split('</think>')[-1] %}{%- endif %}
{{- '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<｜Assistant｜><think>\\n' }}{%- endif %}"""

TEMPLATES = {
    "chatml": """{% for message in messages %}{{ '<|im_start|>' + message['role'] """
    """+ '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"""
    """{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}""",
    "smollm2": """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"""
    """{{ '<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}""",
    "qwen2.5": """{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. """
    """You are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role != "system" or not loop.first %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""",
    "qwen3": """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(searching=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set text = message.content %}
    {%- set result = text.startswith('<tool_response>') and text.endswith('</tool_response>') %}
    {%- if ns.searching and message.role == "user" and not result %}
        {%- set ns.searching = false %}
        {%- set ns.last_query_index = (messages|length - 1) - loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {%- set reasoning = '' %}
        {%- if '</think>' in message.content %}
            {%- set before = content.split('</think>')[0].rstrip('\\n') %}
            {%- set reasoning = before.split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or reasoning) %}
            {{- '<|im_start|>assistant\\n<think>\\n' + reasoning.strip('\\n') }}
            {{- '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>assistant\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
""",
    "qwq": """{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {%- if not loop.last %}
            {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n<think>\\n' }}
{%- endif %}
""",
    "llama3": """{% set loop_messages = messages %}{% for message in loop_messages %}"""
    """{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"""
    """+ message['content'] | trim + '<|eot_id|>' %}"""
    """{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"""
    """{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}""",
    "llama3.1": LLAMA3_DATED,
    "llama3.2": LLAMA3_DATED.replace(
        '{%- set date_string = "26 Jul 2024" %}',
        '{%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}'
        '{%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}'),
    "deepseek-r1-distill": "{%- set ns = namespace(system_prompt='') %}" + DEEPSEEK_LAST_SYSTEM
    + DEEPSEEK_TURNS,
    "deepseek-r1": "{%- set ns = namespace(system_prompt='', is_first_sp=true) %}" + DEEPSEEK_ALL_SYSTEMS
    + DEEPSEEK_TURNS,
    "deepseek-r1-0528": "{%- set ns = namespace(system_prompt='', is_first_sp=true, is_last_user=false) %}"
    + DEEPSEEK_ALL_SYSTEMS + """{{- bos_token }}{{- ns.system_prompt }}{%- for message in messages %}
{%- set content = message['content'] %}
{%- if message['role'] == 'user' %}{%- set ns.is_last_user = true %}
{{- '<｜User｜>' + content + '<｜Assistant｜>' }}{%- endif %}
{%- if message['role'] == 'assistant' %}{%- set ns.is_last_user = false %}
{%- if '</think>' in content %}{%- set content = content.split('</think>')[-1] %}{%- endif %}
{{- content + '<｜end▁of▁sentence｜>' }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt and not ns.is_last_user %}{{- '<｜Assistant｜>' }}{%- endif %}""",
}

TEMPLATES["tagged-tools"] = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- "Functions at hand:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(looking=true, question=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.looking and message.role == "user" and message.content is string
           and not (message.content.startswith('<tool_response>')
                    and message.content.endswith('</tool_response>')) %}
        {%- set ns.looking = false %}
        {%- set ns.question = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thought = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.question and (loop.last or thought) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + thought.strip('\\n')
                + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' + tool_call.name + '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + content + '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

TEMPLATES["json-tools"] = """{{- bos_token }}
{%- if custom_tools is defined %}{% set tools = custom_tools %}{%- endif %}
{%- if not tools_in_user_message is defined %}{%- set tools_in_user_message = true %}{%- endif %}
{%- if not date_string is defined %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if builtin_tools is defined or tools is not none %}{{- "Environment: ipython\\n" }}{%- endif %}
{%- if builtin_tools is defined %}
    {{- "Tools: " + builtin_tools | reject('equalto', 'code_interpreter') | join(", ") + "\\n\\n"}}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {%- for t in tools %}{{- t | tojson(indent=4) }}{{- "\\n\\n" }}{%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("No first user message to put the tools into!") }}
    {%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>"}}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim
            + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("One call at a time!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {%- if builtin_tools is defined and tool_call.name in builtin_tools %}
            {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n<|python_tag|>' }}
            {{- tool_call.name + ".call(" }}
            {%- for arg_name, arg_val in tool_call.arguments | items %}
                {{- arg_name + '="' ~ arg_val ~ '"' }}
                {%- if not loop.last %}{{- ", " }}{%- endif %}
            {%- endfor %}
            {{- ")" }}
        {%- else  %}
            {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
            {{- '{"name": "' + tool_call.name + '", ' }}
            {{- '"parameters": ' }}
            {{- tool_call.arguments | tojson }}
            {{- "}" }}
        {%- endif %}
        {%- if builtin_tools is defined %}{{- "<|eom_id|>" }}{%- else %}{{- "<|eot_id|>" }}{%- endif %}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable and message.content is not string %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

TEMPLATES["marked-tools"] = """{% if not thinking is defined %}{% set thinking = false %}{% endif %}
{%- set ns = namespace(later=false, after_tool=false, system='', first_system=true) -%}
{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.first_system %}
{%- set ns.system = ns.system + message['content'] %}{%- set ns.first_system = false %}{%- else %}
{%- set ns.system = ns.system + '\\n\\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}
{{- bos_token }}{{ ns.system }}
{%- for message in messages %}
{%- if message['role'] == 'user' %}{%- set ns.after_tool = false -%}
{{'<｜User｜>' + message['content'] + '<｜Assistant｜>'}}{%- endif %}
{%- if message['role'] == 'assistant' and message['tool_calls'] %}
{%- set ns.after_tool = false -%}{%- set ns.later = false -%}
{%- for call in message['tool_calls'] %}
{%- set shown = call['type'] + '<｜tool▁sep｜>' + call['function']['name'] + '\\n```json\\n'
        + call['function']['arguments'] + '\\n```<｜tool▁call▁end｜>' %}
{%- if not ns.later %}{{- (message['content'] or '') + '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + shown }}
{%- set ns.later = true -%}{%- else %}{{'\\n<｜tool▁call▁begin｜>' + shown}}{%- endif %}{%- endfor %}
{{- '<｜tool▁calls▁end｜><｜end▁of▁sentence｜>'}}{%- endif %}
{%- if message['role'] == 'assistant' and message['content'] is not none and not message['tool_calls'] %}
{%- if ns.after_tool %}{{'<｜tool▁outputs▁end｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}
{%- set ns.after_tool = false -%}{%- else %}{%- set content = message['content'] -%}
{%- if '</think>' in content %}{%- set content = content.split('</think>', 1)[1] -%}{%- endif %}
{{- content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endif %}
{%- if message['role'] == 'tool' %}
{%- if not ns.after_tool %}{{'<｜tool▁outputs▁begin｜>'}}{%- endif %}{%- set ns.after_tool = true -%}
{{- '<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>'}}{%- endif %}
{%- endfor -%}
{% if ns.after_tool %}{{'<｜tool▁outputs▁end｜>'}}{% endif %}
{%- if add_generation_prompt and not ns.after_tool %}{{ '<think>' if thinking else '</think>' }}{% endif %}"""

TEMPLATES["bracketed"] = """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}
{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}
{% set system_message = false %}{% endif %}{% for message in loop_messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Roles must alternate, not ' + message['role'] + '!') }}{% endif %}
{% if loop.index0 == 0 and system_message != false %}
{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}
{% else %}{% set content = message['content'] %}{% endif %}
{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}
{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}
{% endfor %}"""

TEMPLATES["features"] = """{#- a comment -#}
{%- macro shown(name, value, mark='=') -%}
  {{ name }}{{ mark }}{{ value }};
{%- endmacro -%}
{% set box %}[{{ messages | length }}]{% endset %}
{{ box }} {{ shown('a', 1) }}
{{- shown('b', mark=': ', value=[1, 2.5, 'x\\'"', none, true, {'k': []}]) }}
  {% if tools is not none %}
    {%+ for tool in tools if tool.function.parameters is defined %}
    {%- for key, value in tool.function.parameters.items() %}
      {%- if key == 'required' %}{% continue %}{% endif %}
      {{- loop.index }}/{{ loop.revindex }} {{ key | upper }} {{ value }}
    {% else %}
      none
    {% endfor %}
  {{ tool | tojson(indent=2) }} {{ tool.function | tojson(ensure_ascii=true, sort_keys=true) }}
  {{ tool | tojson(separators=(',', ':')) }}
    {% endfor %}
  {% endif %}
{% for message in messages -%}
  {% if loop.index > 6 %}{% break %}{% endif %}
  {{ (loop.previtem or {}).role | default('-', true) }}>{{ message.role | capitalize }}>
  {{- (loop.nextitem or {}).role | d('.') }}
  {%- if message.content is string %}
    {{- ' %s' }} {{ message.content[:5] }}|{{ message.content[-3:] }}|{{ message['content'][::-1] }}
    {{- message.content | length }} {{ message.content.split()[0:3] }}
    {{- message.content.split(' ', 1) | last }}
    {{- message.content.replace('e', '<e>') }} {{ message.content.count('l') }}
    {{- message.content.find('o') }}
    {{- message.content.splitlines() }} {{ message.content.rsplit('\\n', 1)[0] }}
  {%- endif %}
{% endfor %}
{{ messages | map(attribute='role') | join('~') }}
{{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{{ range(3) | list }} {{ range(7, 1, -2) | list }}
{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 * 3 + 1 }}
{{ 1e3 if false else 0.1 + 0.2 }} {{ 1 < 2 < 3 }} {{ 'a' in 'cat' and 'x' not in {'y': 1} }}
{{ not 1 is odd }}
{{ 'ab' * 2 ~ 3 ~ none }} {{ {'b': 1, 'a': {'c': 2}}.get('a').c }} {{ {'b': 1, 'a': 2} | dictsort }}
{{ [1, 2, 3][1:] + [4] }} {{ (1, 2) | first }} {{ undefined_thing }} {{ undefined_thing is defined }}
{{ "tab\\there \\u00e9 \\x41" 'joined' }} {{ ['x', ''] | select | list }} {{ -3 | abs }} {{ '5' | int + 1 }}
{%- generation %} generated {% endgeneration %}
{{- '' if add_generation_prompt else ' end' }}
"""
